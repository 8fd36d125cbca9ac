"""Isolamento: staff watch the app's own login try to reach other people's rows on every table, and be refused."""

import streamlit as st

from services.db.actor import Role
from services.security import tenant_isolation as isolation_proof
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard
from ui.staff import tenant_isolation

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Isolamento"), anchor=False)
st.caption(
    _(
        "O próprio acesso do console ao banco tenta ler, inserir, alterar e apagar o que é de outras pessoas, em cada "
        "tabela. Tudo é desfeito. O banco tem de recusar."
    )
)
with errors.stopping():
    tenant_isolation.show_last_run(isolation_proof.get_last_run(actor))
if st.button(_("Provar agora"), type="primary", icon=":material/shield_lock:", key="isolation_prove"):
    with errors.shown():
        bar = st.progress(0.0, text=_("Tentando…"))
        report = isolation_proof.run_isolation_test(
            actor, lambda done, of: tenant_isolation.show_progress(bar, done, of)
        )
        bar.empty()
        tenant_isolation.show_report(report)
