package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/signal"
)

var update = flag.Bool("update", false, "write the golden files and docs/configuration.md anew")

var testForms = Forms{
	Decoders: []string{"activity", "cloudtrail", "otel", "registration"},
	Syslog:   []string{"cef", "leef"},
	Formats:  []string{"json", "ocsf", "ecs", "cef"},
}

const (
	envSecret  = "s3cret-from-env"
	fileSecret = "s3cret-from-file"
)

func setTestEnv(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"TEST_KAFKA_PASSWORD": envSecret, "TEST_DIR": "/srv", "TEST_HOST": "host-1", "TEST_PARTITIONS": "8",
		"TEST_EMPTY": "", "TEST_QUIET": "45m", "TEST_SECRET_LOOKING": "hunter2",
	} {
		t.Setenv(name, value)
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "the golden file is missing; write it with -update")
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func inputs(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func TestAGoodFileGivesThisEffectiveConfig(t *testing.T) {
	setTestEnv(t)
	for _, in := range inputs(t, "testdata/good/*.in.yaml") {
		t.Run(filepath.Base(in), func(t *testing.T) {
			cfg, err := Load(in, testForms)
			require.NoError(t, err)
			out, err := cfg.YAML()
			require.NoError(t, err)
			require.NotContains(t, string(out), "s3cret")
			golden(t, strings.Replace(in, ".in.yaml", ".expected.yaml", 1), string(out))
		})
	}
}

func TestABadFileGivesTheseMistakes(t *testing.T) {
	setTestEnv(t)
	for _, in := range inputs(t, "testdata/bad/*.yaml") {
		t.Run(filepath.Base(in), func(t *testing.T) {
			src, err := os.ReadFile(in)
			require.NoError(t, err)
			_, err = Parse(filepath.Base(in), src, testForms)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotContains(t, err.Error(), "hunter2", "an error shows a secret")
			golden(t, strings.TrimSuffix(in, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestWhatIsPrintedIsReadBackAsTheSameConfig(t *testing.T) {
	setTestEnv(t)
	for _, in := range inputs(t, "testdata/good/*.in.yaml") {
		t.Run(filepath.Base(in), func(t *testing.T) {
			cfg, err := Load(in, testForms)
			require.NoError(t, err)
			cfg.Kafka.SASL, cfg.ClickHouse.Password = SASL{Mechanism: SASLNone, OAuth: OAuth{Extensions: map[string]string{}}}, Secret{}
			cfg.Detector.Runbook = strings.ReplaceAll(cfg.Detector.Runbook, "${", "$${")
			out, err := cfg.YAML()
			require.NoError(t, err)
			again, err := Parse("printed.yaml", out, testForms)
			require.NoError(t, err)
			out2, err := again.YAML()
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(string(out), "$${", "${"), string(out2))
			if len(cfg.Detector.Signals) == 0 {
				cfg.Detector.Signals, again.Detector.Signals = nil, nil
			}
			if len(cfg.Detector.Identity) == 0 {
				cfg.Detector.Identity, again.Detector.Identity = nil, nil
			}
			cfg.Detector.Runbook, again.Detector.Runbook = "", ""
			require.Equal(t, cfg, again)
		})
	}
}

func TestNoFileMeansTheDefaultsAndTheyAreValid(t *testing.T) {
	cfg, err := Load("", testForms)
	require.NoError(t, err)
	require.Equal(t, Default(), cfg)

	empty, err := Parse("empty.yaml", nil, testForms)
	require.NoError(t, err)
	require.Equal(t, Default(), empty)
}

func TestAFileThatCantBeReadIsNamed(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ path, says string }{
		{filepath.Join(dir, "none.yaml"), "does not exist; leave out --config"},
		{dir, "is a directory"},
	} {
		_, err := Load(c.path, testForms)
		require.ErrorContains(t, err, c.path)
		require.ErrorContains(t, err, c.says)
	}
}

func TestWindowsLineEndsAndAByteOrderMarkAreRead(t *testing.T) {
	cfg, err := Parse("w.yaml", []byte("\ufefflog:\r\n  level: debug\r\n"), testForms)
	require.NoError(t, err)
	require.Equal(t, "debug", cfg.Log.Level)
}

func TestSecretsComeFromTheEnvironmentAndFromFiles(t *testing.T) {
	setTestEnv(t)
	cfg, err := Load("testdata/good/cluster.in.yaml", testForms)
	require.NoError(t, err)
	require.Equal(t, envSecret, cfg.Kafka.SASL.Password.Reveal())
	require.Equal(t, fileSecret, cfg.ClickHouse.Password.Reveal(), "the newline at the end is no part of it")
}

func TestNoPrintedFormShowsASecret(t *testing.T) {
	cfg := Default()
	cfg.ClickHouse.Password = NewSecret("hunter2")
	hidden := struct {
		cfg    *Config
		secret Secret
	}{cfg, cfg.ClickHouse.Password}

	var log bytes.Buffer
	logger := zerolog.New(&log)
	logger.Info().Interface("config", cfg).Any("secret", cfg.ClickHouse.Password).Object("object", cfg.ClickHouse.Password).
		Stringer("stringer", cfg.ClickHouse.Password).Str("hidden", fmt.Sprintf("%+v", hidden)).Send()
	j, err := json.Marshal(cfg)
	require.NoError(t, err)
	y, err := cfg.YAML()
	require.NoError(t, err)
	yj, err := cfg.JSON()
	require.NoError(t, err)
	require.True(t, json.Valid(yj))

	forms := []string{log.String(), string(j), string(y), string(yj)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		forms = append(forms, fmt.Sprintf(verb, cfg.ClickHouse.Password), fmt.Sprintf(verb, cfg.ClickHouse), fmt.Sprintf(verb, hidden.secret), fmt.Sprintf(verb, hidden))
	}
	for _, f := range forms {
		require.NotContains(t, f, "hunter2")
		require.NotContains(t, f, "68756e74657232", "hexadecimal is no mask")
	}
	for _, f := range []string{log.String(), string(y), string(yj), cfg.ClickHouse.Password.String()} {
		require.Contains(t, f, "***", "a set secret shows that it is set")
	}
	require.Empty(t, Secret{}.String())
	require.False(t, NewSecret("").IsSet())
}

func TestTheFingerprintChangesWithWhatDecidesAboutVerdictsOnly(t *testing.T) {
	base := Default().Hash()
	require.Equal(t, "99fbc4458939", base, "the fingerprint of the defaults is stable across builds")
	for _, c := range []struct {
		name    string
		change  func(*Config)
		differs bool
	}{
		{"budget", func(c *Config) { c.Detector.AlertsPerAgentDay = 0.02 }, true},
		{"quiet time", func(c *Config) { c.Detector.QuietTime++ }, true},
		{"agents", func(c *Config) { c.Detector.MaxAgents++ }, true},
		{"partitions, because they divide the peers", func(c *Config) { c.Kafka.Partitions = 2 }, true},
		{"a signal that is off", func(c *Config) { c.Detector.Signals = map[string]Signal{"drift": {Off: true}} }, true},
		{"a weight", func(c *Config) { c.Detector.Signals = map[string]Signal{"drift": {Weight: 2}} }, true},
		{"an identity check", func(c *Config) { c.Detector.Identity = map[string]string{"no_owner": "off"} }, true},
		{"a signal that is named without a change", func(c *Config) { c.Detector.Signals = map[string]Signal{"drift": {}} }, false},
		{"the runbook", func(c *Config) { c.Detector.Runbook = "x" }, false},
		{"addresses", func(c *Config) { c.Kafka.Brokers = Endpoints{"x:1"} }, false},
		{"sources", func(c *Config) { c.Sources[0].Decoder = "otel" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Default()
			c.change(cfg)
			require.Equal(t, c.differs, cfg.Hash() != base)
		})
	}
	three := func() string {
		c := Default()
		c.Detector.Signals = map[string]Signal{"drift": {Weight: 2}, "silence": {Off: true}, "new_tool": {Weight: 3}}
		return c.Hash()
	}
	first := three()
	for range 20 {
		require.Equal(t, first, three(), "the order of a map has no part in it")
	}
}

func TestDurationsAndSizesAreReadAndPrinted(t *testing.T) {
	for text, want := range map[string]string{"6h": "6h", "90m": "1h30m", "60s": "1m", "1h0m5s": "1h0m5s", "250ms": "250ms", "0s": "0s"} {
		var d Duration
		require.NoError(t, d.parse(text))
		require.Equal(t, want, d.String())
	}
	for text, want := range map[string]string{"65536": "64KiB", "1GiB": "1GiB", "100": "100", "1500 KiB": "1500KiB", "0": "0"} {
		var s Size
		require.NoError(t, s.parse(text))
		require.Equal(t, want, s.String())
	}
	for _, text := range []string{"", "1 KB", "-1", "9223372036854775807GiB", "x"} {
		var s Size
		require.Error(t, s.parse(text), text)
	}
}

func TestTheClosestKeyIsFoundByEditDistance(t *testing.T) {
	keys := keysOf(reflect.TypeFor[Kafka]())
	for wrong, want := range map[string]string{"broker": "brokers", "Brokers": "brokers", "partitoins": "partitions", "tsl": "tls", "retention": "", "zzz": ""} {
		require.Equal(t, want, Closest(wrong, keys), wrong)
	}
	require.Equal(t, 0, distance("abc", "abc"))
	require.Equal(t, 3, distance("", "abc"))
	require.Equal(t, 1, distance("ab", "ba"))
	require.Equal(t, 3, distance("kitten", "sitting"))
}

// Errors mask a line by the name of its key: a secret under any other name would
// be shown.
func TestEverySecretHasANameThatErrorsMask(t *testing.T) {
	found := 0
	var visit func(reflect.Type)
	visit = func(ty reflect.Type) {
		for ty.Kind() == reflect.Slice || ty.Kind() == reflect.Map {
			ty = ty.Elem()
		}
		if ty.Kind() != reflect.Struct || ty == reflect.TypeFor[Secret]() {
			return
		}
		for f := range ty.Fields() {
			if f.Type == reflect.TypeFor[Secret]() {
				found++
				require.NotContains(t, sourceLine("  "+f.Tag.Get("yaml")+": hunter2"), "hunter2")
			}
			visit(f.Type)
		}
	}
	visit(reflect.TypeFor[Config]())
	require.Positive(t, found)
}

func FuzzAFileOfAnyBytesIsReadOrRefusedWithoutAPanic(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.in.yaml", "testdata/bad/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		cfg, err := Parse("fuzz.yaml", src, testForms)
		if err != nil {
			var e *Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Mistakes)
			require.NotEmpty(t, err.Error())
			return
		}
		require.NoError(t, cfg.Validate(testForms), "what was read without a mistake is valid")
	})
}

func TestEverySignalMayBeOverridden(t *testing.T) {
	require.ElementsMatch(t, signal.Names(), signalNames)
}
