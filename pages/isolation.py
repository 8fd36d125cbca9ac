"""Isolamento: staff watch the app's own login try to reach other people's rows on every table, and be refused."""

import streamlit as st

from services import isolation
from services.db.actor import Role
from ui import errors, proof
from ui.guard import guard
from ui.text import _

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Isolamento"), anchor=False)
st.caption(
    _(
        "O próprio acesso do console ao banco tenta ler, inserir, alterar e apagar o que é de outras pessoas, em cada "
        "tabela. Tudo é desfeito. O banco tem de recusar."
    )
)
with errors.stopping():
    proof.last(isolation.last(actor))
if st.button(_("Provar agora"), type="primary", icon=":material/shield_lock:", key="isolation_prove"):
    with errors.shown():
        bar = st.progress(0.0, text=_("Tentando…"))
        report = isolation.prove(actor, lambda done, of: proof.advance(bar, done, of))
        bar.empty()
        proof.report(report)
