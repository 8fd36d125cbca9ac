"""What Streamlit's own markup lacks for people who cannot see it well, mended in the browser.

Its page says `lang="en"` whatever stands in it; its menu is a list whose items lie in boxes that no list may hold; the
little charts of figures hold marks without a name; a chosen pill is too faint on dark. A test holds every page to axe's
rules, so that an update of Streamlit which mends one of these shows here too.
"""

from ui.text import locale

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
