package siem

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

// known lists what a resource is known by, each with its kind before it.
func known(resource string) (list []string) {
	for _, p := range pivotsOf(resource) {
		for _, v := range [][2]string{{"url", p.url()}, {"mail", p.mail}, {"ip", p.ip()}, {"host", p.host}, {"file", p.file}} {
			if v[1] != "" {
				list = append(list, v[0]+" "+v[1])
			}
		}
	}
	return list
}

// knownBy is a resource with what it is known by.
type knownBy struct {
	resource string
	want     []string
}

func expect(t *testing.T, cases []knownBy) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.resource, func(t *testing.T) { require.Equal(t, c.want, known(c.resource)) })
	}
}

func TestAURLIsReadAsWhatOpensItDoes(t *testing.T) {
	expect(t, []knownBy{
		{"url:https://Corp.Example/a?b=c#d", []string{"url https://corp.example/a?b=c#d", "host corp.example"}},
		{"https://corp.example/a", []string{"url https://corp.example/a", "host corp.example"}},
		{"HTTPS:corp.example", []string{"url https://corp.example", "host corp.example"}},
		{"http:///corp.example", []string{"url http://corp.example", "host corp.example"}},
		{"postgres://db.corp.example:5432/x", []string{"url postgres://db.corp.example:5432/x", "host db.corp.example"}},
		{"url:corp.example/a", []string{"url corp.example/a", "host corp.example"}},
		{"url://corp.example/a", []string{"url //corp.example/a", "host corp.example"}},
		{"url:corp.example:8080/a", []string{"url corp.example:8080/a", "host corp.example"}},
		{"url:https://[2001:DB8::1]:8443/a", []string{"url https://[2001:db8::1]:8443/a", "ip 2001:db8::1"}},
		{"url:https://203.0.113.9/a", []string{"url https://203.0.113.9/a", "ip 203.0.113.9"}},
		{"url:https://corp.example@evil.example/a", []string{"url https://evil.example/a", "host evil.example"}},
		{"url:https://u:secret@evil.example", []string{"url https://evil.example", "host evil.example"}},
		{`url:https://evil.example\@corp.example/a`, []string{"url https://evil.example/@corp.example/a", "host evil.example"}},
		{`url:https:\\evil.example\a`, []string{"url https://evil.example/a", "host evil.example"}},
		{"url:https://evil.example?@corp.example/", []string{"url https://evil.example?@corp.example/", "host evil.example"}},
		{"url:https://%65vil.example/", []string{"url https://evil.example/", "host evil.example"}},
		{"url:https://corp.example%00.evil.example/", nil},
		{"url:https://bücher.example/ü", []string{"url https://xn--bcher-kva.example/ü", "host xn--bcher-kva.example"}},
		{"url:https://ｅvil。example/", []string{"url https://evil.example/", "host evil.example"}},
		{"url:https://１２７.0.0.1/", []string{"url https://127.0.0.1/", "ip 127.0.0.1"}},
		{"url:https://2130706433/", nil},
		{"url:https://0x7f.1/", nil},
		{"url:https://a.example/ https://b.example/", []string{"url https://a.example/", "host a.example", "url https://b.example/", "host b.example"}},
		{"url:https://a.example,https://b.example", []string{"url https://a.example", "host a.example", "url https://b.example", "host b.example"}},
		{"url:https://a.example,b.example/", nil},
		{"url:https://r3---sn-x.my_host.example./", []string{"url https://r3---sn-x.my_host.example/", "host r3---sn-x.my_host.example"}},
		{"url:https://paste…", nil},
		{"url:https://a..example/", nil},
		{"url:https:///", nil},
		{"url:javascript:alert(1)", nil},
		{"url:s3://bucket/key", nil},
		{"url:mailto:bob@x.example", []string{"mail bob@x.example", "host x.example"}},
		{"url:file:///etc/passwd", []string{"file /etc/passwd"}},
		{"url:", nil},
	})
}

func TestWhatAResourceIsKnownBy(t *testing.T) {
	expect(t, []knownBy{
		{"host:DB-1.corp.example:5432", []string{"host db-1.corp.example"}},
		{"host:h", []string{"host h"}},
		{"host:a b,c", []string{"host a", "host b", "host c"}},
		{"domain:Corp.Example.", []string{"host corp.example"}},
		{"domain:*.corp.example", nil},
		{"domain:xn--bcher-kva.example", []string{"host xn--bcher-kva.example"}},
		{"host:https://h.example/x", []string{"url https://h.example/x", "host h.example"}},

		{"ip:203.0.113.9", []string{"ip 203.0.113.9"}},
		{"ip:203.0.113.9:443", []string{"ip 203.0.113.9"}},
		{"ip:203.0.113.9 198.51.100.1", []string{"ip 203.0.113.9", "ip 198.51.100.1"}},
		{"ip:2001:db8::1", []string{"ip 2001:db8::1"}},
		{"ip:[2001:db8::1]:443", []string{"ip 2001:db8::1"}},
		{"ip:fe80::1%eth0", []string{"ip fe80::1"}},
		{"ip:::ffff:203.0.113.9", []string{"ip 203.0.113.9"}},
		{"ip:999.1.1.1", nil},
		{"ip:010.1.1.1", nil},
		{"ip:10.0.0.0/8", nil},
		{"ip:", nil},

		{"email:Bob@X.Example", []string{"mail Bob@x.example", "host x.example"}},
		{"email:Bob <bob@x.example>, \"Ann, A.\" <ann@y.example>", []string{"mail bob@x.example", "host x.example", "mail ann@y.example", "host y.example"}},
		{"email:bob@x.example;ann@y.example", []string{"mail bob@x.example", "host x.example", "mail ann@y.example", "host y.example"}},
		{`email:"ann@corp.example" <x@evil.example>`, []string{"mail x@evil.example", "host evil.example"}},
		{`email:"x@corp.example"@evil.example`, []string{"host evil.example"}},
		{"email:bob@bücher.example", []string{"mail bob@xn--bcher-kva.example", "host xn--bcher-kva.example"}},
		{"email:bob@[203.0.113.9]", []string{"ip 203.0.113.9"}},
		{"email:bob@[2001:db8::1]", []string{"ip 2001:db8::1"}},
		{"mailto:bob@x.example?cc=ann%40y.example&subject=hi", []string{"mail bob@x.example", "host x.example", "mail ann@y.example", "host y.example"}},
		{"email:bob@corp.example@evil.example", nil},
		{"email:bob", nil},

		{"file:/srv/q3.xlsx", []string{"file /srv/q3.xlsx"}},
		{"file:///srv/q3.xlsx", []string{"file /srv/q3.xlsx"}},
		{"s3:bucket/key", nil},
		{"agent:bot-7", nil},
		{"phone:+1 555 0100", nil},
		{"bare", nil},
		{":", nil},
		{"", nil},
	})
}

func TestADomainIsWhatSomebodyRegistered(t *testing.T) {
	for host, want := range map[string][2]string{
		"www.books.co.uk": {"books.co.uk", "co.uk"}, "paste.example": {"paste.example", "example"}, "a.b.paste.example": {"paste.example", "example"},
		"bob.github.io": {"bob.github.io", "github.io"}, "co.uk": {}, "h": {}, "": {},
	} {
		registered, suffix := (&pivot{host: host}).domain()
		require.Equal(t, want, [2]string{registered, suffix}, host)
	}
}

func TestWhatWasCutIsNotRead(t *testing.T) {
	long := func(s string) string { return s + strings.Repeat("a.", 30) + "a" + ellipsis }
	require.Empty(t, known(long("url:https://u@corp.example.")))
	require.Empty(t, known(long("email:bob@corp.example.")))
	require.Empty(t, known(long("file:/srv/")))
	require.Equal(t, []string{"host corp.example"}, known(long("url:https://corp.example/")))
	require.Equal(t, []string{"mail a@corp.example", "host corp.example"}, known(long("email:a@corp.example, b@corp.")))
}

func TestHowManyAreReadIsBounded(t *testing.T) {
	require.Len(t, pivotsOf("host:"+strings.Repeat("h ", 1000)), maxPivots)
	require.Empty(t, pivotsOf("host:"+strings.Repeat("h ", schemas.MaxStringBytes)))
	a := &schemas.Alert{}
	for i := range 40 {
		a.Evidence.Resources = append(a.Evidence.Resources, "host:"+strings.Repeat(string(rune('a'+i%20))+" ", 30)+strings.Repeat(" ", i))
	}
	n := 0
	for _, r := range subjectOf(a).touched {
		n += len(r.pivots)
	}
	require.Equal(t, maxAlertPivots, n)
}

// FuzzPivots: whatever a resource is called, what it is known by is a valid address, a name
// that the DNS could have, an address of one mailbox.
func FuzzPivots(f *testing.F) {
	for _, s := range []string{
		"url:https://u:p@[fe80::1%25eth0]:8443/p?q#f", "email:Bob <bob@x.example>, ann@[::1]", "ip:::ffff:1.2.3.4", "host:bücher.example\x00", "file:///a\\b",
		"url:https://a.example,http://b.example;ftp://c", "mailto:a@b?to=c%40d", "domain:xn--a.example", "https:%5b::1%5d", "url:https://\u200bevil\u00ad.example。",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, resource string) {
		pivots := pivotsOf(resource)
		require.LessOrEqual(t, len(pivots), maxPivots)
		for i := range pivots {
			p := &pivots[i]
			require.True(t, p.name() != "" || p.file != "")
			if ip := p.ip(); ip != "" {
				addr, err := netip.ParseAddr(ip)
				require.NoError(t, err)
				require.Empty(t, addr.Zone())
				require.Empty(t, p.host)
			}
			require.LessOrEqual(t, len(p.host), maxHost)
			require.NotRegexp(t, `[^a-z0-9._-]`, p.host)
			if p.mail != "" {
				require.LessOrEqual(t, len(p.mail), maxMail)
				require.True(t, strings.HasSuffix(p.mail, "@"+p.host))
				require.False(t, strings.ContainsFunc(p.mail, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }))
				require.Equal(t, 1, strings.Count(p.mail, "@"))
			}
			require.LessOrEqual(t, p.port, 65535)
			registered, suffix := p.domain()
			require.True(t, strings.HasSuffix(p.host, registered) && strings.HasSuffix(registered, suffix))
			if p.link != nil && p.link.full != "" && utf8.ValidString(resource) {
				if u, err := url.Parse(p.link.full); err == nil {
					require.Equal(t, p.name(), u.Hostname(), "who else reads it sees the same host")
				}
			}
		}
	})
}
