"""Names, dialogues and templates that the demo's people use."""

FIRST_NAMES = ("Ana", "Bruno", "Carla", "Diego", "Elisa", "Fábio", "Gabriela", "Hugo", "Isabel", "João", "Karina",
"Lucas",
         "Marina", "Nelson", "Olívia", "Paulo", "Quitéria", "Rafael", "Sofia", "Tiago", "Ursula", "Vítor", "Wanda",
         "Xavier", "Yara")  # fmt: skip
LAST_NAMES = ("Souza", "Lima", "Dias", "Rocha", "Prado", "Nunes", "Alves", "Castro", "Moraes", "Pinto")
TIME_ZONE = "America/Sao_Paulo"
# Three messages each, out (>) and in (<). The first four begin with the template of the same number.
DIALOGUES = (
    (">Bom dia, {{nome}}! Seu pedido saiu para entrega e chega até as 18h.", "<Que bom, obrigada!",
     ">De nada! Qualquer dúvida é só responder aqui."),
    (">Olá, {{nome}}! Sua consulta está confirmada para amanhã às 15h.", "<Pode ser às 16h?",
     ">Pode sim, já mudei para as 16h."),
    (">Oi, {{nome}}! O produto que você pediu está separado.", "<Vocês abrem no sábado?", ">Abrimos, das 9h às 13h."),
    (">Olá, {{nome}}. Seu boleto vence em 3 dias. Se já pagou, desconsidere.", "<Já paguei hoje cedo",
     ">Recebido, obrigada!"),
    ("<Bom dia, qual o valor do frete?", ">Bom dia! Para a sua região são R$ 18,90.",
     ">Se fechar hoje, sai amanhã cedo."),
    ("<Ainda não recebi meu pedido", ">Vou verificar agora mesmo.",
     ">Está com a transportadora e chega hoje até as 18h."),
    (">Temos horário livre na quinta à tarde. Posso reservar?", "<Pode ser na sexta?",
     ">Na sexta tenho às 10h. Confirmo?"),
    (">Sua encomenda chegou à loja.", ">Ela fica guardada por 7 dias.", "<👍"),
    (">Segue o orçamento que combinamos. Ele vale por 10 dias.", "<Tem na cor azul?",
     ">Tem sim! O valor é o mesmo."),
    ("<Onde fica a loja?", ">Estamos na Rua Augusta, 1500.", "<Perfeito, obrigada!"),
)  # fmt: skip
# By their numbers messages, schedules and campaigns name them.
TEMPLATES = (
    ("Pedido a caminho", DIALOGUES[0][0][1:]),
    ("Consulta confirmada", DIALOGUES[1][0][1:]),
    ("Produto separado", DIALOGUES[2][0][1:]),
    ("Lembrete de boleto", DIALOGUES[3][0][1:]),
    ("Promoção da semana", "Oi, {{nome}}! Esta semana tudo está com 15% de desconto. Quer ver as novidades?"),
    ("Novo horário", "Olá, {{nome}}! A partir de segunda atendemos das 8h às 20h."),
)
SHARED_TEMPLATES = (
    ("Boas-vindas", "Olá, {{nome}}! Que bom ter você aqui. Responda SAIR se não quiser receber mais."),
    ("Pesquisa de satisfação", "Oi, {{nome}}! De 0 a 10, quanto você nos indicaria a um amigo?"),
)
