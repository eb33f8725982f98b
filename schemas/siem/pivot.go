package siem

import (
	"net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Other logs know a resource by the host, address, mailbox, URL or file that it is. Its name
// is an attacker's to choose: what can't be read as one of them gives none, and what would be
// opened elsewhere than it seems (a user before the host, a backslash, a second URL) is read
// as what opens it does.

const (
	maxPivots      = 16  // of one resource
	maxAlertPivots = 64  // of one alert
	maxHost        = 253 // bytes of a name in the DNS
	maxMail        = 254 // of an address in an SMTP path
)

// pivot is one thing that other logs can be searched for.
type pivot struct {
	host string     // lower case, punycode, no final dot; of a mail address its domain
	addr netip.Addr // in place of host; without a zone, IPv4 never as IPv6
	port int        // 0: none is named
	mail string     // local@host
	link *link
	file string // path
}

// link is what a URL has beside its host.
type link struct {
	original    string // as it stands in the resource
	full        string // without user and password; empty where there is no scheme
	scheme      string
	path, query string
}

// name is the host or the address, whichever it is.
func (p *pivot) name() string {
	if p.addr.IsValid() {
		return p.addr.String()
	}
	return p.host
}

// ip is the address, if it is one.
func (p *pivot) ip() string {
	if p.addr.IsValid() {
		return p.addr.String()
	}
	return ""
}

// url is the URL as a list of them has it.
func (p *pivot) url() string {
	switch {
	case p.link == nil:
		return ""
	case p.link.full == "":
		return p.link.original
	}
	return p.link.full
}

// domain is the name that somebody registered, and the public suffix that it is under.
func (p *pivot) domain() (registered, suffix string) {
	registered, err := publicsuffix.EffectiveTLDPlusOne(p.host)
	if err != nil || p.host == "" {
		return "", ""
	}
	suffix, _ = publicsuffix.PublicSuffix(p.host)
	return registered, suffix
}

// pivotsOf reads a resource.
func pivotsOf(resource string) []pivot {
	if len(resource) > schemas.MaxStringBytes {
		return nil
	}
	var r pivotReader
	resource, cut := strings.CutSuffix(resource, ellipsis) // so the detector ends what it cut
	kind, id := splitResource(resource)
	switch kind = strings.ToLower(kind); {
	case kind == "email":
		r.mails(id)
	case kind == "mailto":
		r.mails(resource)
	case kind == "url":
		r.links(id)
	case web[kind] || strings.HasPrefix(id, "//"):
		r.links(resource)
	case kind == "host", kind == "domain", kind == "ip":
		r.hosts(id)
	case kind == "file" && id != "":
		r.add(pivot{file: id})
	}
	if cut && len(r.found) > 0 {
		r.dropCut()
	}
	return r.found
}

type pivotReader struct{ found []pivot }

func (r *pivotReader) add(p pivot) {
	if len(r.found) < maxPivots {
		r.found = append(r.found, p)
	}
}

// dropCut takes back what was cut. Of a URL with a path the host is whole.
func (r *pivotReader) dropCut() {
	last := &r.found[len(r.found)-1]
	if last.link == nil || last.link.path == "" || last.name() == "" {
		r.found = r.found[:len(r.found)-1]
		return
	}
	last.link = nil
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// separators stand between the members of a list.
const separators = ",;|"

func listed(r rune) bool { return blank(r) || strings.ContainsRune(separators, r) }

func (r *pivotReader) hosts(id string) {
	for field := range strings.FieldsFuncSeq(id, listed) {
		if strings.Contains(field, "://") {
			r.link(field)
		} else if p, ok := readHost(field); ok {
			r.add(p)
		}
	}
}

// links reads a list of URLs, between blanks or with what separates before a scheme.
func (r *pivotReader) links(id string) {
	for field := range strings.FieldsFuncSeq(id, blank) {
		from := 0
		for i := range len(field) {
			if strings.IndexByte(separators, field[i]) >= 0 && startsLink(field[i+1:]) {
				r.link(field[from:i])
				from = i + 1
			}
		}
		r.link(field[from:])
	}
}

func startsLink(s string) bool {
	i := strings.Index(s[:min(len(s), 20)], "://")
	return i > 0 && isScheme(s[:i])
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (s[i] < '0' || s[i] > '9') && strings.IndexByte("+-.", s[i]) < 0) {
			return false
		}
	}
	return s != ""
}

// web are schemes whose slashes may be missing or too many.
var web = map[string]bool{"http": true, "https": true, "ws": true, "wss": true, "ftp": true}

// buckets are schemes whose authority is no host.
var buckets = map[string]bool{"s3": true, "s3a": true, "s3n": true, "gs": true, "gcs": true}

func (r *pivotReader) link(s string) {
	head, tail := s, ""
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		head, tail = s[:i], s[i:]
	}
	rest := strings.ReplaceAll(head, `\`, "/")
	scheme := ""
	if before, after, ok := strings.Cut(rest, ":"); ok && isScheme(before) {
		if low := strings.ToLower(before); web[low] || low == "mailto" || strings.HasPrefix(after, "//") {
			scheme, rest = low, after
		}
	}
	switch {
	case scheme == "mailto":
		r.mails(s)
		return
	case scheme == "file":
		if p := strings.TrimPrefix(rest, "//"); p != "" {
			r.add(pivot{file: p})
		}
		return
	case buckets[scheme]:
		return
	case scheme == "" || web[scheme]:
		rest = strings.TrimLeft(rest, "/")
	default:
		rest = rest[len("//"):]
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if plain, err := url.PathUnescape(authority); err == nil {
		authority = plain
	}
	p, ok := readHost(authority)
	if !ok {
		return
	}
	query, _, _ := strings.Cut(tail, "#")
	p.link = &link{original: s, scheme: scheme, path: path, query: strings.TrimPrefix(query, "?")}
	if scheme != "" {
		p.link.full = scheme + "://" + p.authority() + path + tail
	}
	r.add(p)
}

// authority is the host of a URL with its port.
func (p *pivot) authority() string {
	at := p.name()
	if p.addr.Is6() {
		at = "[" + at + "]"
	}
	if p.port > 0 {
		at += ":" + strconv.Itoa(p.port)
	}
	return at
}

const mailto = "mailto:"

// mails reads a list of mail addresses (RFC 5322), or a mailto: URL (RFC 6068), whose fields
// may hold some too.
func (r *pivotReader) mails(list string) {
	if len(list) < len(mailto) || !strings.EqualFold(list[:len(mailto)], mailto) {
		r.mailList(list)
		return
	}
	to, query, _ := strings.Cut(list[len(mailto):], "?")
	if plain, err := url.PathUnescape(to); err == nil {
		to = plain
	}
	r.mailList(to)
	query, _, _ = strings.Cut(query, "#")
	for field := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(field, "=")
		switch strings.ToLower(key) {
		case "to", "cc", "bcc":
			if plain, err := url.PathUnescape(value); err == nil {
				r.mailList(plain)
			}
		}
	}
}

func (r *pivotReader) mailList(list string) {
	addresses, err := mail.ParseAddressList(list)
	if err != nil {
		addresses, err = mail.ParseAddressList(strings.ReplaceAll(list, ";", ","))
	}
	if err != nil {
		return
	}
	for _, a := range addresses {
		at := strings.LastIndexByte(a.Address, '@')
		local, domain := a.Address[:max(at, 0)], a.Address[at+1:]
		p, ok := readHost(domain)
		if !ok {
			continue
		}
		if m := local + "@" + p.host; p.host != "" && plainLocal(local) && len(m) <= maxMail {
			p.mail = m
		}
		r.add(p)
	}
}

// plainLocal reports whether the first part of an address needs no quotes.
func plainLocal(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsPrint(r) || r == unicode.ReplacementChar || strings.ContainsRune(` "(),:;<>@[\]`, r)
	})
}

// readHost reads a name or an address, with a port behind it or without.
func readHost(s string) (p pivot, ok bool) {
	if p.addr, ok = readAddr(s); ok {
		return p, true
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil && i+1 < len(s) {
			return pivot{}, false
		}
		s, p.port = s[:i], int(port)
	}
	if s, ok = lookup(s); !ok {
		return pivot{}, false
	}
	if p.addr, ok = readAddr(s); ok {
		return p, true
	}
	p.host = s
	return p, isHost(s)
}

// readAddr reads an address, in brackets or without.
func readAddr(s string) (netip.Addr, bool) {
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		s = s[1 : len(s)-1]
	}
	a, err := netip.ParseAddr(s)
	return a.WithZone("").Unmap(), err == nil
}

// names maps what people type to what is looked up (UTS 46). Names that the DNS has are
// not all of the registrars' rules: they may have underscores, or hyphens in any place.
var names = idna.New(idna.MapForLookup(), idna.StrictDomainName(false), idna.CheckHyphens(false))

// lookup is a name as it is looked up.
func lookup(s string) (string, bool) {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 4*maxHost {
		return "", false
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
		ascii, err := names.ToASCII(s)
		return strings.TrimSuffix(ascii, "."), err == nil
	}
	return strings.ToLower(s), true
}

// isHost reports whether a name may be a host's. One whose last label is a number would be
// taken for an address by some and for nothing by others.
func isHost(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x")
}
