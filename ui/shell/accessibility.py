"""Repairs in the browser what Streamlit's own markup lacks for people who cannot see it well.

Streamlit's page says `lang="en"` whatever its language is. Its menu is a list with boxes that no list may hold. The
small charts of figures have marks without a name. A chosen pill is too faint on dark. A test checks every page against
axe's rules, so it also shows when an update of Streamlit repairs one of these.
"""

from ui.kit.i18n import locale

STYLE = """<style>
@media (prefers-color-scheme: dark) {
  [data-testid="stButtonGroup"] button[data-selected] p { color: #5fcfae !important; }
}
</style>"""
# One watcher a tab, however often the script runs.
WATCHER = """<script>
document.documentElement.lang = "%s"
if (!window.plushifyMends) {
  const mend = () => {
    for (const one of document.querySelectorAll(
      '[data-testid=stSidebarNavItems]:not([role]), [data-testid=stSidebarNavItems] li:not([role]), '
      + 'svg g[role=graphics-symbol]:not([aria-label])')) one.setAttribute('role', 'presentation')
  }
  window.plushifyMends = new MutationObserver(mend)
  window.plushifyMends.observe(document.body, { childList: true, subtree: true })
  mend()
}
</script>"""


def markup() -> str:
    """For `st.html` with JavaScript allowed, once a run."""
    return STYLE + WATCHER % locale().language
