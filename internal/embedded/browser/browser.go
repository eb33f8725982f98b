// Package browser keeps web pages away from the services of this machine.
//
// A port on the loopback interface is reached by every program of the machine, and by
// every page that a browser on it shows: by a form, a script or an image of any site, and,
// where a name was made to resolve to 127.0.0.1 (DNS rebinding), as if the service were
// the page's own site. Whoever serves there without a password wraps its handler in Guard.
//
// Invariants:
//
//  1. A request that a page of another site or port sends is refused, whatever its method:
//     a GET that changes nothing still tells, and may be read as a script.
//  2. A request over the loopback interface is answered only under a name of this machine:
//     its loopback address, localhost or a name below localhost.
//  3. No answer is taken for another type than it says, shown in a frame, or embedded by
//     another site.
//
// Programs send neither Origin nor Sec-Fetch-Site, and notice nothing.
package browser

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Guard is next without the requests of other sites' pages.
func Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		if overLoopback(r) && !localName(r.Host) {
			http.Error(w, "this service answers to localhost, not to "+strconv.Quote(r.Host), http.StatusMisdirectedRequest)
			return
		}
		if by := otherSite(r); by != "" {
			http.Error(w, "this service does not answer pages of another site ("+by+"); ask it from a program", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// IsPage reports whether a page in a browser sends the request, of this site too. Whoever
// types an address is none.
func IsPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "none" || r.Header.Get("Origin") != "" || r.Header.Get("Referer") != ""
}

// overLoopback reports whether the connection came to a loopback address. What listens
// on every interface is asked over this one by the browser of its own machine too.
func overLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// localName reports whether a Host header names this machine's loopback.
func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() // 0.0.0.0 gets here too, without the headers that tell of a page
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// otherSite says by which header the request is one of a page of another site or port,
// and nothing where it is not. Every header that is there must agree. Whoever types an
// address is "none".
func otherSite(r *http.Request) string {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return "Sec-Fetch-Site: " + shortened(site)
		}
	}
	for _, name := range []string{"Origin", "Referer"} {
		for _, value := range r.Header.Values(name) {
			u, err := url.Parse(value)
			if err != nil || !strings.EqualFold(u.Host, r.Host) || u.Host == "" {
				return name + ": " + shortened(value)
			}
		}
	}
	return ""
}

// shortened is the text of a header, for a message.
func shortened(s string) string { return strconv.Quote(s[:min(len(s), 100)]) }
