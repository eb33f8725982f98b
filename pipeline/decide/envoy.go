package decide

import (
	"errors"
	"net/http"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Headers by which Envoy says who acts, and with what. Its config sets them; what a client
// sends under these names it must take away.
var envoyHeaders = []struct {
	name  string
	field schemas.Field
}{
	{"X-Plumbline-Agent", schemas.FieldAgentID},
	{"X-Plumbline-Tenant", schemas.FieldTenantID},
	{"X-Plumbline-Group", schemas.FieldPeerGroup},
	{"X-Plumbline-Version", schemas.FieldAgentVersion},
	{"X-Plumbline-Tool", schemas.FieldTool},
	{"X-Plumbline-Access", schemas.FieldAccess},
	{"X-Plumbline-On-Behalf-Of", schemas.FieldOnBehalfOf},
}

// envoy answers the check of Envoy's filter ext_authz (http_service): 200 lets the request
// pass, 403 does not. The request that Envoy asks about is the one that it sends, without its
// body, below a prefix.
func (d *Decide) envoy(r *http.Request) reply {
	event, err := envoyEvent(r)
	if err != nil {
		return refuse(http.StatusForbidden, err.Error())
	}
	a, err := d.answered(r, "envoy", event)
	switch {
	case errors.Is(err, errBusy):
		return refuse(http.StatusServiceUnavailable, err.Error())
	case err != nil:
		return refuse(http.StatusForbidden, err.Error())
	case a.permit:
		return reply{status: http.StatusOK}
	}
	// Envoy hands this on to the agent, which need not know what is known of it.
	return refuse(http.StatusForbidden, "denied")
}

// envoyEvent is the event of a request: its URL without the query, which may hold secrets, and
// what its method does. A body that is sent to somebody else leaves.
func envoyEvent(r *http.Request) ([]byte, error) {
	var b builder
	for _, h := range envoyHeaders {
		switch values := r.Header.Values(h.name); {
		case len(values) > 1:
			return nil, errors.New(h.name + " stands twice")
		case len(values) == 1 && values[0] != "":
			b.fields[h.field] = schemas.AppendString(nil, values[0])
		}
	}
	if b.fields[schemas.FieldAgentID] == nil {
		return nil, errors.New("X-Plumbline-Agent is missing")
	}
	if b.fields[schemas.FieldAccess] == nil {
		access := schemas.AccessSend
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			access = schemas.AccessRead
		case http.MethodDelete:
			access = schemas.AccessDelete
		}
		b.fields[schemas.FieldAccess] = schemas.AppendString(nil, access)
	}
	scheme := "https"
	switch proto := r.Header.Get("X-Forwarded-Proto"); proto {
	case "http", "https":
		scheme = proto
	}
	path := "/" + strings.TrimPrefix(r.URL.EscapedPath(), pathEnvoy)
	b.resource(schemas.AppendString(nil, "url:"+scheme+"://"+r.Host+path))
	return b.bytes(), nil
}
