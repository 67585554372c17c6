"""The page that a browser gets at `/graphql`: Strawberry's GraphiQL, which loads its scripts from unpkg.com."""

from strawberry.http.ides import get_graphql_ide_html

_PLACEHOLDER = "Loading..."
# GraphiQL takes its place. Where the scripts cannot be loaded it stays, in place of an empty page.
_NOTICE = """
<div style="font: 16px/1.5 sans-serif; max-width: 44rem; margin: 4rem auto; padding: 0 1rem">
  <h1>GraphiQL is loading</h1>
  <p>It comes from unpkg.com. If this text stays, your browser cannot reach that site; the API works without it:</p>
  <pre id="curl" style="overflow: auto; padding: 1rem; background: #eee; color: #111"></pre>
  <script>
    document.getElementById("curl").textContent = `curl ${location.origin}${location.pathname} \\\\
  -H 'Content-Type: application/json' \\\\
  -d '{"query": "{ __typename }"}'`;
  </script>
</div>
"""


def page() -> str:
    """The page's HTML."""
    html = get_graphql_ide_html("graphiql")
    if html.count(_PLACEHOLDER) != 1:
        raise ValueError("Strawberry's GraphiQL page has changed: put the notice into its new placeholder.")
    return html.replace(_PLACEHOLDER, _NOTICE)
