package baseline

import "strings"

// SplitResource returns the kind and the id of a resource as it stands in an event.
func SplitResource(r string) (kind, id string) {
	i := strings.IndexByte(r, ':')
	if i <= 0 {
		return "other", r
	}
	if kind, id = plainHost(r[:i]), r[i+1:]; strings.HasPrefix(id, "//") { // a URL without its kind
		return "url", r
	}
	return kind, id
}

// EachSite calls f on the site of every address of a resource; read is false where it
// could not be read as an address, and site is then what could not.
func EachSite(kind, id string, f func(site string, read bool)) { eachSite(kind, id, f) }

// Hosts returns what could be hosts in a text that could not be read as an address.
func Hosts(s string) []string { return domainsIn(s) }
