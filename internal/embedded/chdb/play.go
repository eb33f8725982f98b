package chdb

import (
	_ "embed"
	"html"
	"net/http"
	"strings"
)

// playHTML is the page at /play, as a server has one: a statement, and its rows.
//
//go:embed play.html
var playHTML string

// play serves the page. What it asks comes back to this port as a request of its own site,
// which browser.Guard lets through and which only reads. It loads nothing: the style and
// the script are the page's, by a nonce, and it connects to its own origin alone.
func play(w http.ResponseWriter, database string) {
	id := nonce()
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+id+"'; style-src 'nonce-"+id+"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	head.Set("Content-Type", "text/html; charset=UTF-8")
	head.Set("Referrer-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	_, _ = strings.NewReplacer("{nonce}", id, "{database}", html.EscapeString(database)).WriteString(w, playHTML)
}
