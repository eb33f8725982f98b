package decide

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/policy"
)

// examples is seen from the root, as their page names files.
const examples = "deploy/decide/"

// withExamplePolicies runs the role with the policies of deploy/decide/plumbline.yaml.
func withExamplePolicies(t *testing.T, file string) *rig {
	t.Helper()
	return run(t, newCluster(), func(cfg *Config) {
		set, err := policy.Load([]string{file}, policy.Options{DefaultDeny: true})
		require.NoError(t, err)
		cfg.Policies = set
	}).ready()
}

func example(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(examples + name)
	require.NoError(t, err)
	return string(b)
}

func TestTheExamplesAreAnsweredAsThePageSays(t *testing.T) {
	t.Chdir("../..")
	page, err := os.ReadFile("docs/decide.md")
	require.NoError(t, err)
	r := withExamplePolicies(t, "deploy/policies/agents.cedar")
	for file, path := range map[string]string{"mcp-request.json": pathEvaluation, "mcp-batch.json": pathEvaluations} {
		status, body, _ := r.post(path, example(t, file))
		require.Equal(t, 200, status)
		require.Contains(t, string(page), strings.TrimSpace(body), file)
	}
	require.Contains(t, string(page), strings.TrimSpace(example(t, "mcp-request.json")))
}

func TestTheGatewayForwardsWhatIsPermittedAndNothingElse(t *testing.T) {
	t.Chdir("../..")
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: there is no python3 to run the example of a gateway")
	}
	r := withExamplePolicies(t, "deploy/policies/agents.cedar")
	gateway := func(call, with string) string {
		cmd := exec.CommandContext(t.Context(), python, examples+"mcp_gateway.py")
		cmd.Env = append(os.Environ(), "DECIDE_URL="+r.url, "DECIDE_TOKEN="+with)
		cmd.Stdin = strings.NewReader(call)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	call := example(t, "mcp-call.json")
	denied := `{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"denied"}}`
	require.JSONEq(t, call, gateway(call, token))
	require.JSONEq(t, denied, gateway(strings.Replace(call, "a@customers", "x@evil", 1), token))
	require.JSONEq(t, denied, gateway(strings.Replace(call, "mail.send", "unknown", 1), token))
	require.JSONEq(t, denied, gateway(call, "another token"))
	r.stop()
	require.JSONEq(t, denied, gateway(call, token), "nobody answers")
}

// certificates writes an authority, and certificates of it.
func certificates(t *testing.T, dir string) (client tls.Certificate) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	put := func(name, kind string, der []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agents"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey()
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	put("agents-ca.crt", "CERTIFICATE", der)
	leaf := func(of *x509.Certificate) tls.Certificate {
		key := newKey()
		of.NotBefore, of.NotAfter = ca.NotBefore, ca.NotAfter
		der, err := x509.CreateCertificate(rand.Reader, of, ca, &key.PublicKey, caKey)
		require.NoError(t, err)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	server := leaf(&x509.Certificate{SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	put("tls.crt", "CERTIFICATE", server.Certificate[0])
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	require.NoError(t, err)
	put("tls.key", "PRIVATE KEY", key)
	id, err := url.Parse("spiffe://acme.example/crm-1")
	require.NoError(t, err)
	return leaf(&x509.Certificate{SerialNumber: big.NewInt(3), URIs: []*url.URL{id}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// The example's Envoy asks for each request, as the agent that the certificate names: what the
// client says of itself does not count.
func TestEnvoyAsksAsTheExampleConfiguresIt(t *testing.T) {
	t.Chdir("../..")
	envoy := os.Getenv("PLUMBLINE_ENVOY")
	if envoy == "" {
		t.Skip("SKIPPED: PLUMBLINE_ENVOY names no Envoy (tried with 1.40)")
	}
	dir := t.TempDir()
	policies := filepath.Join(dir, "p.cedar")
	require.NoError(t, os.WriteFile(policies, []byte(`
		@id("one-agent-reads") permit (principal == Plumbline::Agent::"acme/spiffe://acme.example/crm-1", action == Plumbline::Action::"read", resource)
		when { resource.site == "tools.example" };`), 0o600))
	r := withExamplePolicies(t, policies)
	reached := make(chan string, 10)
	tools := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { reached <- req.Method + " " + req.URL.String() }))
	defer tools.Close()
	client := certificates(t, dir)

	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := free.Addr().String()
	require.NoError(t, free.Close())
	port := func(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
	text := strings.NewReplacer(
		"/etc/envoy/", dir+"/", "port_value: 10000", "port_value: "+port(addr), "DECIDE_TOKEN", token,
		"address: plumbline, port_value: 9700", "address: 127.0.0.1, port_value: "+port(r.url),
		"address: tools.example.com, port_value: 80", "address: 127.0.0.1, port_value: "+port(tools.URL),
	).Replace(example(t, "envoy.yaml"))
	file := filepath.Join(dir, "envoy.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	cmd := exec.Command(envoy, "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

	hc := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{client},
	}}}
	defer hc.CloseIdleConnections()
	ask := func(method, path, host string, head ...string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+addr+path, strings.NewReader(""))
		require.NoError(t, err)
		req.Host = host
		for i := 0; i < len(head); i += 2 {
			req.Header.Set(head[i], head[i+1])
		}
		res, err := hc.Do(req)
		if err != nil {
			return 0
		}
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	require.Eventually(t, func() bool { return ask("GET", "/v1/x?y=1", "tools.example") == 200 }, 20*time.Second, 100*time.Millisecond)
	require.Equal(t, "GET /v1/x?y=1", <-reached)
	require.Equal(t, 403, ask("POST", "/v1/x", "tools.example"))
	require.Equal(t, 403, ask("POST", "/v1/x", "tools.example", "X-Plumbline-Access", "read"), "a client's word")
	require.Equal(t, 403, ask("GET", "/v1/x", "evil.example"))
	require.Equal(t, 200, ask("GET", "/v1/x", "tools.example", "X-Plumbline-Agent", "other"))
	require.Equal(t, "GET /v1/x", <-reached)
	r.stop()
	require.Equal(t, 503, ask("GET", "/v1/x", "tools.example"), "nobody answers")
	require.Empty(t, reached)
}
