package baseline

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// Where a resource lies is its site: whose it is, not which it is. A new mail address at
// a known domain is another thing than a new domain. The names are an attacker's to
// choose: every address that a resource holds has its site, and what can't be read as an
// address is a site of its own, which nobody knows.

const (
	// maxScanned is how many attributes of an event are searched for places.
	maxScanned = 32
	// maxAddresses is how many addresses of one resource are told apart; with more of
	// them the resource is a site of its own beside.
	maxAddresses = 32
	maxPlace     = 2048 // bytes of an attribute that may be a place
)

// eachSite calls f on the site of every address of a resource; read is false where it
// could not be read as an address.
func eachSite(kin, id string, f func(at string, read bool)) {
	switch kin {
	case "email":
		eachMailSite(id, f)
	case "url":
		eachURLSite(id, f)
	case "domain", "host", "ip":
		eachField(id, func(s string) { f(plainHost(s), true) })
	case "phone":
		f(id, true)
	case "iban": // country, check digits, bank; no such number is longer
		number := strings.ToUpper(strings.ReplaceAll(id, " ", ""))
		if len(number) > 34 || strings.ContainsFunc(number, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }) {
			f(id, false)
			return
		}
		f(number[:min(len(number), 8)], true)
	default:
		at, _, lies := strings.Cut(id, "/")
		if !lies {
			at = "" // the kind is all there is
		}
		f(at, true)
	}
}

// eachMailSite calls f on the domain of every address in a list of them (RFC 5322).
func eachMailSite(id string, f func(at string, read bool)) {
	if at := plainMail(id); at >= 0 {
		f(plainHost(id[at+1:]), true)
		return
	}
	if len(id) > len(mailto) && strings.EqualFold(id[:len(mailto)], mailto) {
		eachMailtoSite(id, f)
		return
	}
	list, err := mail.ParseAddressList(strings.ReplaceAll(id, ";", ","))
	if err != nil || len(list) > maxAddresses {
		f(id, false)
	}
	for _, a := range list[:min(len(list), maxAddresses)] {
		f(plainHost(a.Address[strings.LastIndexByte(a.Address, '@')+1:]), true)
	}
}

const mailto = "mailto:"

// eachMailtoSite does the same for a mailto: URL (RFC 6068), whose header fields may hold
// addresses too.
func eachMailtoSite(id string, f func(at string, read bool)) {
	to, query, _ := strings.Cut(id[len(mailto):], "?")
	lists, found := []string{to}, false
	values, err := url.ParseQuery(strings.ReplaceAll(query, ";", "%3B"))
	for key, list := range values {
		switch strings.ToLower(key) {
		case "to", "cc", "bcc":
			lists = append(lists, list...)
		}
	}
	slices.Sort(lists) // the keys of a map have no order
	for _, l := range lists {
		if plain, bad := url.PathUnescape(l); bad == nil {
			l = plain
		}
		for len(l) >= len(mailto) && strings.EqualFold(l[:len(mailto)], mailto) {
			l = l[len(mailto):]
		}
		if l != "" {
			found = true
			eachMailSite(l, f)
		}
	}
	if err != nil || !found {
		f(id, false)
	}
}

// plainMail returns where the @ of an address stands that is nothing else: letters,
// digits and what needs no quotes around it. -1: it is more than that.
func plainMail(s string) int {
	at := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
		case c == '@' && at < 0:
			at = i
		case at < 0 && strings.IndexByte("!#$%&'*+/=?^_`{|}~", c) >= 0:
		default:
			return -1
		}
	}
	if at == 0 || at == len(s)-1 {
		return -1
	}
	return at
}

// eachURLSite calls f on the host of every URL of a resource. Whoever opens one takes
// blanks for its end, and a backslash for a slash.
func eachURLSite(id string, f func(at string, read bool)) {
	eachField(id, func(s string) {
		for from := strings.Index(s, "://"); from >= 0; { // a list of them
			next := strings.Index(s[from+3:], "://")
			if next < 0 {
				break
			}
			at := from + 3 + strings.LastIndexAny(s[from+3:from+3+next], ",;|")
			if at < from+3 || strings.ContainsAny(s[at+1:from+3+next], "/?#@=&") {
				from += 3 + next
				continue
			}
			eachURLSite(s[:at], f)
			eachURLSite(s[at+1:], f)
			return
		}
		if strings.IndexByte(s, '\\') >= 0 {
			s = strings.ReplaceAll(s, `\`, "/")
		}
		rest := s
		if i := strings.Index(rest, "://"); i >= 0 && !strings.ContainsAny(rest[:i], "/?#@") {
			rest = rest[i+3:]
		}
		rest = strings.TrimLeft(rest, "/")
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
		rest = rest[strings.LastIndexByte(rest, '@')+1:]
		if strings.IndexByte(rest, '%') >= 0 {
			if plain, err := url.PathUnescape(rest); err == nil {
				rest = plain
			}
		}
		if rest == "" || strings.ContainsAny(rest, "/?#@%,;<>\"'(){}|^`") {
			f(s, false)
			return
		}
		f(plainHost(rest), true)
	})
}

// eachField calls f on what stands between blanks; a list of many is one more thing as
// a whole.
func eachField(s string, f func(string)) {
	if strings.IndexFunc(s, blank) < 0 {
		f(s)
		return
	}
	n := 0
	for field := range strings.FieldsFuncSeq(s, blank) {
		if n++; n > maxAddresses {
			break
		}
		f(field)
	}
	if n == 0 || n > maxAddresses {
		f(s)
	}
}

// blank is what separates and what can't be seen.
func blank(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && !unicode.IsPrint(r) }

// plainHost is a host's name as the resolver takes it.
func plainHost(s string) string {
	s = strings.TrimSuffix(s, ".")
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			return strings.ToLower(s)
		}
	}
	return s
}

// placeIn returns of which kind the place is that a value names, "" where it names none:
// a URL with its scheme, or a mail address.
func placeIn(v string) string {
	if len(v) < 5 || len(v) > maxPlace {
		return ""
	}
	if i := strings.Index(v, "://"); i > 0 && i < 12 {
		for j := range i {
			if c := v[j] | 0x20; (c < 'a' || c > 'z') && (v[j] < '0' || v[j] > '9') && v[j] != '+' {
				return ""
			}
		}
		return "url"
	}
	if strings.IndexByte(v, '@') < 0 {
		return ""
	}
	if at := plainMail(v); at > 0 && strings.IndexByte(v[at:], '.') > 0 || strings.HasPrefix(v, "mailto:") {
		return "email"
	}
	if len(v) <= 512 && strings.IndexByte(v, '.') > 0 {
		if list, err := mail.ParseAddressList(v); err == nil && len(list) > 0 {
			return "email"
		}
	}
	return ""
}

// namesSomebody reports whether an attribute of this key says who acts or asks, which is
// no place that data go to.
func namesSomebody(key string) bool {
	for _, who := range [...]string{"user", "from", "sender", "owner", "author", "actor", "account", "principal", "identity", "client"} {
		if containsFold(key, who) {
			return true
		}
	}
	return false
}

// containsFold reports whether s contains the lower-case ASCII word.
func containsFold(s, word string) bool {
	for i := 0; i+len(word) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// domainsIn returns what stands behind the @ and :// signs in a text that is no address.
func domainsIn(s string) (hosts []string) {
	for range 2 {
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
	}
	for len(hosts) < maxAddresses {
		at, behind := strings.IndexByte(s, '@'), 1
		if i := strings.Index(s, "://"); i >= 0 && (at < 0 || i < at) {
			at, behind = i, 3
		}
		if at < 0 {
			break
		}
		s = s[at+behind:]
		end := 0
		for end < len(s) && (s[end] == '.' || s[end] == '-' || s[end] >= '0' && s[end] <= '9' || s[end]|0x20 >= 'a' && s[end]|0x20 <= 'z') {
			end++
		}
		if end > 0 {
			hosts = append(hosts, plainHost(s[:end]))
		}
		s = s[end:]
	}
	return hosts
}
