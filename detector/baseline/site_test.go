package baseline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Who asks for kind and sites of a resource is told what the items of an event say.
func TestKindAndSitesAreThoseOfTheItems(t *testing.T) {
	for _, r := range []string{
		"url:https://Example.com/a", "https://example.com/a", "URL:http://a.example|http://b.example", "email:a@x.example, b@y.example", "email:nobody",
		"file:/etc/passwd", "s3:bucket/key", "db:customers", "nothing", ":x", "", "iban:DE89 3704 0044", "host:a b", "a:b:c/d", "S3:Bucket/key",
	} {
		kind, id := SplitResource(r)
		var sites, want []string
		EachSite(kind, id, func(site string, read bool) {
			if !read {
				site = "unread " + site
			}
			if !slices.Contains(sites, site) {
				sites = append(sites, site)
			}
		})
		for _, it := range AppendItems(nil, Touch{Access: schemas.AccessSend, Resources: []string{r}}) {
			require.Equal(t, kind, it.Kin, r)
			if it.Kind != ItemSite {
				continue
			}
			if it.Unread {
				it.Name = "unread " + it.Name
			}
			if !slices.Contains(want, it.Name) {
				want = append(want, it.Name)
			}
		}
		require.Equal(t, want, sites, r)
	}
}
