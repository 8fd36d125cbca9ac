"""The problems that a check can find: what each one means and what the person can do."""

from services.errors import N_
from services.fleet import session_texts

# What has a name → what it is, and what to do. Names of failures that end a session are those of
# `session_texts.FAILURES`. The order is that of importance among results that are equally bad.
PROBLEMS: dict[str, tuple[str, str]] = {
    "never_connected": (
        N_("Nenhum WhatsApp foi conectado por aqui ainda."),
        N_("Comece em “Meu WhatsApp”."),
    ),
    "worker_away": (
        N_("O processo que trata os avisos e os envios está parado."),
        N_("Fale com o suporte: o worker precisa ser iniciado."),
    ),
    "inbox_lagging": (
        N_("Os avisos chegam mais rápido do que são tratados."),
        N_("Espere um pouco; se não passar, fale com o suporte."),
    ),
    "server_unreachable": (
        N_("O servidor do WhatsApp não está respondendo."),
        N_("Espere um minuto e verifique de novo; se continuar, fale com o suporte."),
    ),
    "server_refused": (
        N_("O servidor do WhatsApp não aceita a nossa credencial."),
        N_("Fale com o suporte: WPP_SERVER_TOKEN precisa ser conferido."),
    ),
    "banned": (
        N_("O WhatsApp desconectou o aparelho logo depois de muitos envios seguidos."),
        N_("Veja no celular se há um aviso de bloqueio. Espere algumas horas e envie mais devagar."),
    ),
    "restart_all": (
        N_("O servidor reiniciou todas as sessões ao mesmo tempo."),
        N_("Não é o seu celular. Confira se voltou; se não, reconecte."),
    ),
    "other_number": (
        N_("Outro número foi pareado: o que era do número anterior espera uma decisão."),
        N_("Em “Meu WhatsApp”, escolha continuar pelo número novo ou descartar."),
    ),
    "page_gone": (
        N_("O servidor diz CONNECTED, mas a página do WhatsApp dele sumiu."),
        N_("Reconecte: o celular continua pareado."),
    ),
    "zombie": (
        N_("O servidor diz CONNECTED, mas o WhatsApp não responde por esta sessão."),
        N_("Reconecte: o celular continua pareado."),
    ),
    "close_half_works": (
        N_("O fim da sessão foi pedido, mas o servidor a mantém de pé."),
        N_("Desconecte de novo; se repetir, remova o aparelho pelo celular."),
    ),
    "webhook_refused": (
        N_("Avisos desta sessão chegam com o segredo errado e são recusados."),
        N_("Reconecte: isso registra um endereço novo no servidor."),
    ),
    "silent": (
        N_("A sessão está calada num horário em que costuma receber."),
        N_("Peça a alguém uma mensagem de teste; se nada chegar, reconecte."),
    ),
    "unannounced": (
        N_("A sessão funciona e envia, mas o servidor parou de avisar."),
        N_("Reconecte: isso registra o endereço dos avisos de novo."),
    ),
    "webhook_unreachable": (
        N_("O servidor do WhatsApp não consegue chegar ao nosso endereço de avisos."),
        N_("Reconecte; se repetir, fale com o suporte: PUBLIC_WEBHOOK_URL precisa ser conferido."),
    ),
    "stuck_initializing": (
        N_("O servidor está preso em INITIALIZING e não gera o código."),
        N_("Reconecte: isso fecha o que está preso e começa de novo."),
    ),
    "qr_loop": (
        N_("O servidor troca o código sem parar e a leitura não completa."),
        N_("Cancele, espere um minuto e conecte de novo."),
    ),
    "stale_qr": (
        N_("O servidor repete um código já vencido."),
        N_("O código velho não é mostrado. Reconecte para receber um novo."),
    ),
    "code_changes": (
        N_("O código de pareamento mudou enquanto era digitado."),
        N_("Digite sempre o mais novo, ou conecte pelo código QR."),
    ),
    "phone_offline": (
        N_("O servidor avisou que o celular está sem conexão."),
        N_("Ligue o celular, abra o WhatsApp nele e verifique de novo."),
    ),
    "lid_instead_of_phone": (
        N_("As confirmações chegam com um código anônimo (@lid) no lugar do telefone."),
        N_("A mensagem saiu; só a confirmação não foi ligada a ela."),
    ),
    "webhook_lost": (
        N_("Um aviso se perdeu no caminho: o servidor tenta uma vez só."),
        N_("A mensagem saiu, como mostra a conversa. Não envie de novo."),
    ),
    "accepted_but_never_sent": (
        N_("O servidor aceitou a mensagem, mas o WhatsApp nunca a recebeu."),
        N_("Reconecte e envie de novo depois de conferir a conversa no celular."),
    ),
    "no_ack": (
        N_("O servidor aceitou a mensagem e nenhuma confirmação chegou."),
        N_("Espere alguns minutos e verifique de novo."),
    ),
    "uncertain_send": (
        N_("Não sabemos se a mensagem saiu: o servidor deu erro ou não respondeu."),
        N_("Ela não é reenviada sozinha. Veja no celular antes de enviar outra."),
    ),
    "not_on_whatsapp": (
        N_("O número da última mensagem não está no WhatsApp."),
        N_("Confira o número com a pessoa."),
    ),
    "number_form": (
        N_("O número da última mensagem não tem a forma que o WhatsApp usa."),
        N_("Informe DDD e número, ou +código do país."),
    ),
    "old_address": (
        N_("O servidor ainda avisa pelo endereço de uma conexão anterior."),
        N_("Reconecte: isso registra o endereço novo."),
    ),
    "delivered_despite_error": (
        N_("O servidor deu erro, mas a mensagem saiu: foi encontrada na conversa."),
        N_("Nada a fazer."),
    ),
    "ack_before_reply": (
        N_("A confirmação chegou antes da resposta do envio."),
        N_("Nada a fazer: ela foi guardada e ligada à mensagem."),
    ),
    "ninth_digit": (
        N_("O WhatsApp usa este número sem o nono dígito."),
        N_("Nada a fazer: enviamos para a forma que ele usa."),
    ),
    "no_session_in_event": (
        N_("Avisos chegam sem dizer de qual sessão são."),
        N_("Nada a fazer: o endereço de cada sessão diz de quem são."),
    ),
    "webhook_duplicate": (
        N_("O servidor manda o mesmo aviso mais de uma vez."),
        N_("Nada a fazer: a repetição é marcada e não conta de novo."),
    ),
    "reused_message_id": (
        N_("Mensagens diferentes chegaram com a mesma identificação."),
        N_("Nada se perdeu: os avisos estão guardados."),
    ),
    "huge_media": (
        N_("Chegou um aviso com um arquivo muito grande dentro."),
        N_("Foi guardado inteiro. Acima de 64 MB o aviso seria recusado."),
    ),
}


def get_meaning_and_advice(name: str) -> tuple[str, str]:
    """What a name of a report means, and what to do: two gettext sources."""
    return PROBLEMS.get(name) or session_texts.FAILURES[name]
