package decide

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Paths of the Authorization API, and the one below which Envoy asks.
const (
	pathEvaluation    = "/access/v1/evaluation"
	pathEvaluations   = "/access/v1/evaluations"
	pathConfiguration = "/.well-known/authzen-configuration"
	pathEnvoy         = "/envoy/"
)

const headerRequestID = "X-Request-ID"

// Handler returns what Run serves.
func (d *Decide) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathEvaluation, d.asked("evaluation", func(r *http.Request) reply { return d.authzen(r, false) }))
	mux.HandleFunc("POST "+pathEvaluations, d.asked("evaluations", func(r *http.Request) reply { return d.authzen(r, true) }))
	mux.HandleFunc("GET "+pathConfiguration, d.configuration)
	envoy := d.asked("envoy", d.envoy)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The path of somebody else's request is not ours to tidy up.
		if strings.HasPrefix(r.URL.Path, pathEnvoy) {
			envoy(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// reply is an answer of HTTP.
type reply struct {
	status int
	body   []byte // JSON where the status is 200, otherwise a line of text
}

func refuse(status int, message string) reply { return reply{status, []byte(message + "\n")} }

// asked answers who may ask.
func (d *Decide) asked(api string, answer func(*http.Request) reply) http.HandlerFunc {
	seconds := d.metrics.seconds.WithLabelValues(api)
	want := sha256.Sum256([]byte(d.cfg.Token))
	return func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		var out reply
		if d.may(r, want) {
			out = answer(r)
		} else {
			w.Header().Set("WWW-Authenticate", "Bearer")
			out = refuse(http.StatusUnauthorized, "the bearer token is missing or another one")
		}
		head := w.Header()
		if id := r.Header.Get(headerRequestID); id != "" {
			head.Set(headerRequestID, id)
		}
		kind := "text/plain; charset=utf-8"
		if len(out.body) > 0 && out.body[0] == '{' {
			kind = "application/json"
		}
		head.Set("Content-Type", kind)
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		if out.status == http.StatusServiceUnavailable {
			head.Set("Retry-After", "1")
		}
		w.WriteHeader(out.status)
		if _, err := w.Write(out.body); err != nil {
			d.Logger.Debug().Err(err).Msg("the caller went away")
		}
		d.metrics.requests.WithLabelValues(strconv.Itoa(out.status)).Inc()
		seconds.Observe(time.Since(begin).Seconds())
	}
}

// may reports whether a caller shows the token.
func (d *Decide) may(r *http.Request, want [sha256.Size]byte) bool {
	if d.cfg.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(token)) // of one length, whatever was sent
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// authzen answers the Authorization API.
func (d *Decide) authzen(r *http.Request, many bool) reply {
	// A form of a web page can't say this type without being asked for permission first.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusBadRequest, "Content-Type must be application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return refuse(http.StatusBadRequest, "the body could not be read")
	case len(body) > maxBody:
		return refuse(http.StatusRequestEntityTooLarge, "the body is over "+strconv.Itoa(maxBody)+" bytes")
	}
	req, err := readRequest(body)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if !many || len(req.evaluations) == 0 {
		a, err := d.evaluate(r, &req.evaluation)
		switch {
		case errors.Is(err, errBusy):
			return refuse(http.StatusServiceUnavailable, err.Error())
		case err != nil:
			return refuse(http.StatusBadRequest, err.Error())
		}
		return reply{http.StatusOK, append(d.appendAnswer(nil, a), '\n')}
	}
	out := []byte(`{"evaluations":[`)
	for i, raw := range req.evaluations {
		e, err := req.one(raw)
		var a *answer
		if err == nil {
			a, err = d.evaluate(r, &e)
		}
		if i > 0 {
			out = append(out, ',')
		}
		permit := err == nil && a.permit
		if err != nil {
			out = d.appendMistake(out, err)
		} else {
			out = d.appendAnswer(out, a)
		}
		if permit && req.semantic == permitOnFirstPermit || !permit && req.semantic == denyOnFirstDeny {
			break
		}
	}
	return reply{http.StatusOK, append(out, "]}\n"...)}
}

func (d *Decide) evaluate(r *http.Request, e *evaluation) (*answer, error) {
	event, err := e.event()
	if err != nil {
		return nil, err
	}
	return d.answered(r, "authzen", event)
}

// answered decides, counts and writes down.
func (d *Decide) answered(r *http.Request, api string, event []byte) (*answer, error) {
	a, err := d.ask(r.Context(), event)
	if err != nil {
		return nil, err
	}
	d.metrics.decisions.WithLabelValues(a.result()).Inc()
	d.log.add(a, api, r.Header.Get(headerRequestID))
	return a, nil
}

// appendMistake appends the answer to a question of a list that can't be read.
func (d *Decide) appendMistake(b []byte, err error) []byte {
	status := http.StatusBadRequest
	if errors.Is(err, errBusy) {
		status = http.StatusServiceUnavailable
	}
	return append(appendError(append(b, `{"decision":false,"context":{`...), status, err.Error()), "}}"...)
}

func appendError(b []byte, status int, message string) []byte {
	b = strconv.AppendInt(append(b, `"error":{"status":`...), int64(status), 10)
	return append(schemas.AppendString(append(b, `,"message":`...), message), '}')
}

func (d *Decide) appendAnswer(b []byte, a *answer) []byte {
	b = strconv.AppendBool(append(b, `{"decision":`...), a.permit)
	b = append(b, `,"context":{`...)
	if a.problem != "" {
		b = append(appendError(b, a.status, a.problem), ',')
	}
	return append(d.appendReasons(b, a), "}}"...)
}

// appendReasons appends why it was answered so, as members of an object.
func (d *Decide) appendReasons(b []byte, a *answer) []byte {
	b = schemas.AppendString(append(b, `"reason":`...), a.reason())
	policies := a.decided
	if !a.permit {
		policies = a.denied
	}
	b = appendTexts(append(b, `,"policies":`...), policies)
	if len(a.observed) > 0 {
		b = appendTexts(append(b, `,"observed":`...), a.observed)
	}
	if len(a.failed) > 0 {
		b = appendTexts(append(b, `,"failed":`...), a.failed)
	}
	b = schemas.AppendString(append(b, `,"policy_hash":`...), d.policies.Load().Hash())
	b = strconv.AppendBool(append(b, `,"registered":`...), a.known)
	if a.risk != "" {
		b = schemas.AppendString(append(b, `,"risk":`...), a.risk)
	}
	return b
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = schemas.AppendString(b, s)
	}
	return append(b, ']')
}

// configuration says where the endpoints are, by the name under which the caller came.
func (d *Decide) configuration(w http.ResponseWriter, r *http.Request) {
	base := "http://" + r.Host
	if r.TLS != nil {
		base = "https://" + r.Host
	}
	b := schemas.AppendString([]byte(`{"policy_decision_point":`), base)
	b = schemas.AppendString(append(b, `,"access_evaluation_endpoint":`...), base+pathEvaluation)
	b = schemas.AppendString(append(b, `,"access_evaluations_endpoint":`...), base+pathEvaluations)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := w.Write(append(b, "}\n"...)); err != nil { //nolint:gosec // JSON, and the caller's own Host in it
		d.Logger.Debug().Err(err).Msg("the caller went away")
	}
}
