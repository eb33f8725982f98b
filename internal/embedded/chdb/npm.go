package chdb

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// askPatience bounds a question to the registry, stallPatience a download without
// a byte.
const (
	askPatience   = time.Minute
	stallPatience = time.Minute
)

var errNoNPM = errors.New("npm is not on this machine")

// npm runs npm and returns what it prints. npm knows the machine's registry,
// proxy and credentials; this program does not want to.
func npm(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "npm", args...) //nolint:gosec // the arguments are constants
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, errNoNPM
	case err != nil:
		return nil, fmt.Errorf("npm %s: %w: %s", args[0], err, complaint(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// complaint is what npm marks as an error, without where its log is.
func complaint(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "npm error ")
		if ok && line != "" && !strings.Contains(line, "complete log") && len(lines) < 4 {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// npmPack lets npm fetch the package into dir and returns the file.
func npmPack(ctx context.Context, dir string) (string, error) {
	out, err := npm(ctx, dir, "pack", npmPackage+"@"+npmVersion, "--json", "--loglevel=error")
	if err != nil {
		return "", err
	}
	var packed []struct {
		Filename string `json:"filename"`
	}
	if err := json.Unmarshal(out, &packed); err != nil || len(packed) != 1 {
		return "", fmt.Errorf("npm pack: unexpected answer %.200q", out)
	}
	return filepath.Join(dir, filepath.Base(packed[0].Filename)), nil
}

// download asks npm where the package is and opens it.
func download(ctx context.Context) (io.ReadCloser, error) {
	ask, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	out, err := npm(ask, "", "view", npmPackage+"@"+npmVersion, "dist.tarball", "dist.integrity", "--json", "--loglevel=error")
	if err != nil {
		return nil, err
	}
	var dist struct {
		Tarball   string `json:"dist.tarball"`
		Integrity string `json:"dist.integrity"`
	}
	if err := json.Unmarshal(out, &dist); err != nil || dist.Tarball == "" {
		return nil, fmt.Errorf("npm view: unexpected answer %.200q", out)
	}
	if dist.Integrity != npmIntegrity {
		return nil, fmt.Errorf("%w: the registry announces the sum %s, want %s", ErrCorrupt, dist.Integrity, npmIntegrity)
	}
	client, err := npmClient(ask)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, dist.Tarball, http.NoBody)
	if err != nil {
		stop(nil)
		return nil, fmt.Errorf("download: %w", err)
	}
	watch := time.AfterFunc(stallPatience, func() { stop(fmt.Errorf("no data for %s", stallPatience)) })
	resp, err := client.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		err = errors.New("the registry answers " + resp.Status)
	}
	if err != nil {
		watch.Stop()
		stop(nil)
		return nil, fmt.Errorf("download: %w", err)
	}
	return &watched{ctx: ctx, body: resp.Body, watch: watch, stop: stop}, nil
}

// npmClient is an HTTP client with npm's proxy and authorities.
func npmClient(ctx context.Context) (*http.Client, error) {
	out, err := npm(ctx, "", "config", "get", "https-proxy", "proxy", "cafile", "--loglevel=error")
	if err != nil {
		return nil, err
	}
	set := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && value != "null" && value != "undefined" {
			set[key] = value
		}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true, TLSHandshakeTimeout: 20 * time.Second}
	if proxy := cmp.Or(set["https-proxy"], set["proxy"]); proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			return nil, fmt.Errorf("npm's proxy: %w", err)
		}
		transport.Proxy = http.ProxyURL(u)
	}
	if file := set["cafile"]; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("npm's cafile: %w", err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport}, nil
}

// watched is a body that gives up when nothing comes any more.
type watched struct {
	ctx   context.Context //nolint:containedctx // it carries why the download was stopped
	body  io.ReadCloser
	watch *time.Timer
	stop  context.CancelCauseFunc
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	if n > 0 {
		w.watch.Reset(stallPatience)
	}
	if cause := context.Cause(w.ctx); err != nil && !errors.Is(err, io.EOF) && cause != nil {
		err = cause
	}
	return n, err //nolint:wrapcheck // io.EOF must stay io.EOF
}

func (w *watched) Close() error {
	w.watch.Stop()
	w.stop(nil)
	return w.body.Close() //nolint:wrapcheck // nobody looks at it
}
