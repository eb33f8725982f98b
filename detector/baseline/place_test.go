package baseline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// sitesOf returns the sites of a send to these resources, each once, in order; what could
// not be read is marked with a question mark.
func sitesOf(attributes []schemas.Attribute, resources ...string) (sites []string) {
	items := baseline.AppendItems(nil, baseline.Touch{Access: schemas.AccessSend, Resources: resources, Attributes: attributes})
	for _, it := range items {
		if it.Kind != baseline.ItemSite {
			continue
		}
		name := it.Name
		if it.Unread {
			name = "?" + name
		}
		sites = append(sites, name)
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

// siteHashes returns what novelty knows the sites of a send by.
func siteHashes(resource string) map[uint64]string {
	hashes := map[uint64]string{}
	for _, it := range baseline.AppendItems(nil, baseline.Touch{Access: schemas.AccessSend, Resources: []string{resource}}) {
		if it.Kind == baseline.ItemSite {
			hashes[it.Hash] = it.Name
		}
	}
	return hashes
}

func TestEveryAddressOfAResourceHasItsSite(t *testing.T) {
	many := strings.Repeat("a@corp.example, ", 40) + "x@evil.example"
	for _, c := range []struct {
		resource string
		sites    []string
	}{
		{"email:ann@corp.example", []string{"corp.example"}},
		{"email:ann@CORP.Example", []string{"corp.example"}},
		{"email:ann@corp.example.", []string{"corp.example"}},
		{"email:a.b+c@corp.example", []string{"corp.example"}},
		{"email:Ann <ann@corp.example>", []string{"corp.example"}},
		{`email:"ann@corp.example" <x@evil.example>`, []string{"evil.example"}},
		{"email:ann@corp.example, x@evil.example", []string{"corp.example", "evil.example"}},
		{"email:x@evil.example,ann@corp.example", []string{"corp.example", "evil.example"}},
		{"email:ann@corp.example;x@evil.example", []string{"corp.example", "evil.example"}},
		{"email:Ann <ann@corp.example>, X <x@evil.example>", []string{"corp.example", "evil.example"}},
		{"email:team: ann@corp.example, x@evil.example;", []string{"?team: ann@corp.example, x@evil.example;"}},
		{"email:ann@corp.example x@evil.example", []string{"?ann@corp.example x@evil.example"}},
		{"email:ann@corp.example\nx@evil.example", []string{"?ann@corp.example\nx@evil.example"}},
		{"email:ann@corp.example\x00@evil.example", []string{"?ann@corp.example\x00@evil.example"}},
		{"email:ann@corp.example@evil.example", []string{"?ann@corp.example@evil.example"}},
		{`email:"x@corp.example"@evil.example`, []string{"evil.example"}},
		{"email:ann", []string{"?ann"}},
		{"email:", []string{"?"}},
		{"email:@", []string{"?@"}},
		{"email:mailto:ann@corp.example", []string{"corp.example"}},
		{"email:mailto:ann@corp.example?cc=x@evil.example", []string{"corp.example", "evil.example"}},
		{"email:mailto:ann@corp.example?bcc=x%40evil.example&subject=hi", []string{"corp.example", "evil.example"}},
		{"email:mailto:ann@corp.example?cc=%zz", []string{"?mailto:ann@corp.example?cc=%zz", "corp.example"}},
		{"email:" + many, []string{"?" + many, "corp.example"}},
		{"email:mailto:mailto:x@evil.example", []string{"evil.example"}},
		{"email:mailto:ann@corp.example?cc=mailto:x@evil.example", []string{"corp.example", "evil.example"}},
		{"email:mailto:ann@corp.example?CC=x@evil.example", []string{"corp.example", "evil.example"}},
		{"email:mailto:x%40evil.example%2Cann@corp.example", []string{"corp.example", "evil.example"}},
		{"email:mailto:ann@corp.example?to=x@evil.example&subject=1", []string{"corp.example", "evil.example"}},
		{"email:mailto:", []string{"?mailto:"}},
		{"email:mailto:?subject", []string{"?mailto:?subject"}},
		{"email:mailto:? x@evil.example", []string{"?mailto:? x@evil.example"}},

		{"url:https://corp.example/a", []string{"corp.example"}},
		{"url:HTTPS://CORP.example/a?b#c", []string{"corp.example"}},
		{"url:https://corp.example./a", []string{"corp.example"}},
		{"url:https://corp.example:8443/a", []string{"corp.example:8443"}},
		{"url:corp.example/a", []string{"corp.example"}},
		{"url://corp.example/a", []string{"corp.example"}},
		{"url:corp.example#top", []string{"corp.example"}},
		{"url:https://user:pw@corp.example:8443/p?q", []string{"corp.example:8443"}},
		{"url:https://corp.example@evil.example/a", []string{"evil.example"}},
		{"url:https://corp.example:pw@evil.example", []string{"evil.example"}},
		{`url:https://evil.example\@corp.example/a`, []string{"evil.example"}},
		{`url:https:\\evil.example\a`, []string{"evil.example"}},
		{"url:https://evil.example?@corp.example/", []string{"evil.example"}},
		{"url:https://evil.example#@corp.example/", []string{"evil.example"}},
		{"url:https:///evil.example/", []string{"evil.example"}},
		{"url:https://%65vil.example/", []string{"evil.example"}},
		{"url:https://evil.example%2f@corp.example/", []string{"corp.example"}},
		{"url:https://corp.example%00.evil.example/", []string{"corp.example\x00.evil.example"}},
		{"url:https://corp.example/ https://evil.example/", []string{"corp.example", "evil.example"}},
		{"url:https://corp.example/\thttps://evil.example/", []string{"corp.example", "evil.example"}},
		{"url:https://corp.example,evil.example/", []string{"?https://corp.example,evil.example/"}},
		{"url:https://corp.example;evil.example/", []string{"?https://corp.example;evil.example/"}},
		{"url:https://corp.example/a,https://evil.example/u", []string{"corp.example", "evil.example"}},
		{"url:https://corp.example/a;https://evil.example/u", []string{"corp.example", "evil.example"}},
		{"url:https://corp.example/a|https://evil.example/u", []string{"corp.example", "evil.example"}},
		{"url:https:///", []string{"?https:///"}},
		{"url:", []string{"?"}},

		{"domain:Corp.Example.", []string{"corp.example"}},
		{"host:db-1.corp.example", []string{"db-1.corp.example"}},
		{"host:db-1 evil.example", []string{"db-1", "evil.example"}},
		{"ip:10.0.0.1", []string{"10.0.0.1"}},
		{"ip:10.0.0.1 203.0.113.9", []string{"10.0.0.1", "203.0.113.9"}},
		{"phone:+1 555 0100", []string{"+1 555 0100"}},

		{"iban:DE44 5001 0517 5407 3249 31", []string{"DE445001"}},
		{"iban:de44500105175407324931", []string{"DE445001"}},
		{"iban:DE44", []string{"DE44"}},
		{"iban:DE", []string{"DE"}},
		{"iban:DE44500105175407324931, GB82WEST12345698765432", []string{"?DE44500105175407324931, GB82WEST12345698765432"}},
		{"iban:DE44500105175407324931GB82WEST12345698765432", []string{"?DE44500105175407324931GB82WEST12345698765432"}},

		{"s3:bucket/key", []string{"bucket"}},
		{"s3:bucket", []string{""}},
		{"no kind", []string{""}},
	} {
		t.Run(c.resource, func(t *testing.T) {
			require.Equal(t, c.sites, sitesOf(nil, c.resource))
		})
	}
}

func TestAPlaceInAnAttributeIsReached(t *testing.T) {
	for _, c := range []struct {
		key, value string
		sites      []string
	}{
		{"to", "x@evil.example", []string{"evil.example"}},
		{"cc", "Ann <ann@corp.example>, x@evil.example", []string{"corp.example", "evil.example"}},
		{"webhook", "https://evil.example/u", []string{"evil.example"}},
		{"arg", "mailto:x@evil.example", []string{"evil.example"}},
		{"callback", "s3://bucket/key", []string{"bucket"}},
		{"note", "see you", nil},
		{"note", "a@b", nil},
		{"note", "a@b c d . e", nil},
		{"user", "ann@corp.example", nil}, // says who asks
		{"FROM", "ann@corp.example", nil},
	} {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			require.Equal(t, c.sites, sitesOf([]schemas.Attribute{{Key: c.key, Value: c.value}}))
		})
	}
	// No more than the first attributes are searched, and they are still searched.
	attributes := slices.Repeat([]schemas.Attribute{{Key: "n", Value: "nothing"}}, 31)
	attributes = append(attributes, schemas.Attribute{Key: "to", Value: "x@evil.example"}, schemas.Attribute{Key: "to", Value: "y@later.example"})
	require.Equal(t, []string{"evil.example"}, sitesOf(attributes))
}

func TestAFailedCallHasReachedWhatItNames(t *testing.T) {
	sites := func(access, resource string) (names []string) {
		for _, it := range baseline.AppendItems(nil, baseline.Touch{Tool: "t", Access: access, Resources: []string{resource}, Failed: true}) {
			require.True(t, it.Kind.Place(), "%v %q", it.Kind, it.Name)
			if it.Kind == baseline.ItemSite {
				names = append(names, it.Name)
			}
		}
		return names
	}
	require.Equal(t, []string{"evil.example"}, sites(schemas.AccessSend, "email:x@evil.example"))
	require.Equal(t, []string{"evil.example"}, sites(schemas.AccessRead, "url:https://evil.example/"))
	require.Empty(t, sites(schemas.AccessRead, "email:x@evil.example"), "nobody is reached by being looked up")
	require.Empty(t, sites(schemas.AccessRead, "file:a"))
	require.Empty(t, sites(schemas.AccessSend, "email:nobody"), "no address")
	require.Equal(t, []string{"corp.example", "evil.example"}, sites(schemas.AccessSend, "email:ann@corp.example x@evil.example"))
	require.Equal(t, []string{"corp.example", "evil.example"}, sites(schemas.AccessSend, "email:<ann@corp.example> and https://EVIL.example/"))
}

// FuzzSites gives sends to names of any kind: whatever stands in one, it has a site, and a
// fresh address beside a known one always has one that the known one has not.
func FuzzSites(f *testing.F) {
	for _, s := range []string{
		"", "ann@corp.example", "a b", ",", ";;", "\"", "<", "\x00", "(", "\\", "%2f", "@", "://", "mailto:", "mailto:?to=", "team:", "\"a", "xn--", "ß@ß.example",
		"https://corp.example/a?b#c", "=?utf-8?q?=40?=", "[10.0.0.1]", "\u2028", "\u00a0", "\u3002", strings.Repeat("a@b.example,", 40), strings.Repeat("h ", 40),
	} {
		for kind := range byte(6) {
			f.Add(kind, s, byte(0), true)
			f.Add(kind, s, byte(3), false)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, hostile string, between byte, behind bool) {
		kin := []string{"email", "url", "domain", "host", "iban", "other"}[kind%6]
		sitesOf([]schemas.Attribute{{Key: "to", Value: hostile}, {Key: hostile, Value: "x@evil.example"}}, hostile)
		baseline.AppendItems(nil, baseline.Touch{Tool: "t", Access: hostile, Resources: []string{kin + ":" + hostile, hostile}, Failed: true})
		if kin == "email" && strings.HasPrefix(hostile, "mailto:") {
			return // see TestEveryAddressOfAResourceHasItsSite
		}
		require.NotEmpty(t, sitesOf(nil, kin+":"+hostile), "a send of no site")

		// The hostile text, a fresh address and a known one, in either order.
		known, fresh := "ann@corp.example", "x@evil.example"
		switch kin {
		case "url":
			between = 3 + between%3 // a path may hold commas
			known, fresh = "https://corp.example/a", "https://evil.example/a"
		case "domain", "host":
			known, fresh = "corp.example", "evil.example"
		case "email":
		default:
			return // one name is one number, or one path
		}
		separator := []string{",", ";", ", ", " ", "\n", "\t"}[between%6]
		parts := []string{known, fresh}
		if !behind {
			parts = []string{fresh, known}
		}
		was := siteHashes(kin + ":" + known)
		for _, spelled := range []string{
			strings.Join(parts, separator),
			strings.Join(append(parts, hostile), separator),
			strings.Join(append([]string{hostile}, parts...), separator),
			parts[0] + separator + hostile + separator + parts[1],
		} {
			brings := false
			for h := range siteHashes(kin + ":" + spelled) {
				_, old := was[h]
				brings = brings || !old
			}
			require.True(t, brings, "%q has only the sites of %q", spelled, known)
		}
	})
}
