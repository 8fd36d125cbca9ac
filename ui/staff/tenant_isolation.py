"""The live proof of tenant isolation on the screen: what was tried, and what the database answered."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from services.security.tenant_isolation import Attempt, Operation, Outcome, Report, Run
from ui.kit import dates
from ui.kit.i18n import _


def show_last_run(run: Run | None) -> None:
    """When it was last proved, and what came out."""
    if run is None:
        st.info(_("Ainda não foi provado por aqui. Leva alguns segundos."), icon=":material/shield:")
    elif run.leaks:
        st.error(
            _("**{leaks} vazamentos** na última prova, {ago}. Prove de novo e chame quem cuida do banco.").format(
                leaks=run.leaks, ago=dates.ago(run.at)
            ),
            icon=":material/gpp_bad:",
        )
    else:
        st.success(
            _("Provado {ago}: **{refused} tentativas recusadas**, nenhum vazamento.").format(
                ago=dates.ago(run.at), refused=run.refused
            ),
            icon=":material/verified_user:",
        )


def show_progress(bar: DeltaGenerator, done: int, of: int) -> None:
    """How far the proof is."""
    bar.progress(done / max(of, 1), text=_("{done} de {of} tentativas").format(done=done, of=of))


def show_report(found: Report) -> None:
    """Each attempt with what the database said, leaks first."""
    leaks = found.of(Outcome.LEAK)
    if leaks:
        st.error(
            _("**Há {n} vazamentos.** Eles estão no topo da lista.").format(n=len(leaks)), icon=":material/gpp_bad:"
        )
    else:
        words = _("**Nenhum vazamento:** {n} tentativas recusadas.").format(n=len(found.of(Outcome.REFUSED)))
        st.success(words, icon=":material/verified_user:")
    order = {Outcome.LEAK: 0, Outcome.REFUSED: 1, Outcome.UNPROVABLE: 2}
    rows = [_attempt_cells(one) for one in sorted(found.attempts, key=lambda one: order[one.outcome])]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height=480)
    st.caption(_("“Sem o que recusar”: a tabela está vazia, ou outra coisa impediu a tentativa antes."))


def _attempt_cells(one: Attempt) -> dict[str, str]:
    operations = {
        Operation.READ: _("ler"),
        Operation.INSERT: _("inserir em nome de outra pessoa"),
        Operation.UPDATE: _("alterar"),
        Operation.DELETE: _("apagar"),
        Operation.BECOME: _("virar outro papel"),
        Operation.CALL: _("chamar"),
    }
    outcomes = {
        Outcome.REFUSED: _("recusado"),
        Outcome.UNPROVABLE: _("sem o que recusar"),
        Outcome.LEAK: _("VAZOU"),
    }
    return {
        _("Alvo"): one.target,
        _("Tentativa"): operations[one.operation],
        _("Resultado"): outcomes[one.outcome],
        _("Linhas de outros"): "—" if one.rows is None else str(one.rows),
        _("O banco disse"): one.proof,
    }
