package test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
)

func release(t *testing.T, version, dir string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../release.sh", version, dir)
	// Two platforms: the others take minutes.
	cmd.Env = append(os.Environ(), "PLATFORMS=linux/amd64 darwin/arm64", "SOURCE_DATE_EPOCH=1700000000")
	return cmd.CombinedOutput()
}

// unpacked are the files of an archive.
func unpacked(t *testing.T, file string) map[string][]byte {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close() //nolint:errcheck // it was only read
	zipped, err := gzip.NewReader(f)
	require.NoError(t, err)
	out := map[string][]byte{}
	for archive := tar.NewReader(zipped); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		require.EqualValues(t, 1700000000, head.ModTime.Unix(), head.Name)
		if head.Typeflag == tar.TypeReg {
			out[strings.TrimPrefix(head.Name, "./")], err = io.ReadAll(archive)
			require.NoError(t, err)
		}
	}
}

func TestAReleaseIsCompleteAndTheSameEachTime(t *testing.T) {
	dir := t.TempDir()
	dist := filepath.Join(dir, "dist")
	out, err := release(t, "v1.2.3", dist)
	require.NoError(t, err, string(out))
	again, err := release(t, "v1.2.3", filepath.Join(dir, "again"))
	require.NoError(t, err, string(again))
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	require.NoError(t, err)
	sumsAgain, err := os.ReadFile(filepath.Join(dir, "again", "SHA256SUMS"))
	require.NoError(t, err)
	require.Equal(t, string(sums), string(sumsAgain))
	var names []string
	for line := range strings.Lines(string(sums)) {
		names = append(names, strings.Fields(line)[1])
	}
	require.Equal(t, []string{
		"plumbline-chart_v1.2.3.tgz",
		"plumbline-server_v1.2.3_darwin_arm64.cdx.json", "plumbline-server_v1.2.3_darwin_arm64.tar.gz",
		"plumbline-server_v1.2.3_linux_amd64.cdx.json", "plumbline-server_v1.2.3_linux_amd64.tar.gz",
		"plumbline_v1.2.3_linux_amd64.cdx.json", "plumbline_v1.2.3_linux_amd64.tar.gz",
	}, names)
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--quiet", "SHA256SUMS")
	check.Dir = dist
	require.NoError(t, check.Run())

	for build, name := range map[string]string{"server": "plumbline-server_v1.2.3_linux_amd64.tar.gz", "full": "plumbline_v1.2.3_linux_amd64.tar.gz"} {
		files := unpacked(t, filepath.Join(dist, name))
		require.Contains(t, files, "LICENSE")
		require.Contains(t, files, "systemd/plumbline.service")
		here, err := os.Getwd()
		require.NoError(t, err)
		require.NotContains(t, string(files["plumbline"]), filepath.Dir(filepath.Dir(here)), "where it was built is in it")
		program := filepath.Join(t.TempDir(), "plumbline")
		require.NoError(t, os.WriteFile(program, files["plumbline"], 0o700))
		got := output(t, program, "version")
		require.Contains(t, got, "plumbline v1.2.3 (")
		require.Contains(t, got, build+" build")
	}
	chart, err := loader.Load(filepath.Join(dist, names[0]))
	require.NoError(t, err)
	require.Equal(t, "1.2.3", chart.Metadata.Version)
	require.Equal(t, "v1.2.3", chart.Metadata.AppVersion)
	files, err := render(t, chart, valuesFiles(t)["everything.yaml"])
	require.NoError(t, err)
	require.NotEmpty(t, objects(t, files))
	for _, name := range names {
		if strings.HasSuffix(name, ".cdx.json") {
			checkSBOM(t, filepath.Join(dist, name))
		}
	}
}

// checkSBOM holds one to the schema of CycloneDX and looks for what must be in it.
func checkSBOM(t *testing.T, file string) {
	t.Helper()
	module := strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go"))
	compiler := jsonschema.NewCompiler()
	for name, file := range map[string]string{"bom-1.6.schema.json": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		f, err := os.Open(filepath.Join(module, "schema", file))
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(f)
		require.NoError(t, errors.Join(err, f.Close()))
		require.NoError(t, compiler.AddResource("http://cyclonedx.org/schema/"+name, doc))
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close() //nolint:errcheck // it was only read
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, err)
	require.NoError(t, schema.Validate(doc), file)
	_, err = f.Seek(0, io.SeekStart)
	require.NoError(t, err)
	var bom cdx.BOM
	require.NoError(t, cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bom))
	require.Equal(t, "v1.2.3", bom.Metadata.Component.Version)
	var names []string
	for _, c := range *bom.Components {
		names = append(names, c.Name)
	}
	require.Subset(t, names, []string{"std", "github.com/segmentio/kafka-go", "github.com/ClickHouse/clickhouse-go/v2"})
	require.Equal(t, !strings.Contains(file, "plumbline-server"), strings.Contains(strings.Join(names, " "), "kfake"), file)
}

func TestAReleaseRefusesWhatIsNoVersion(t *testing.T) {
	for _, version := range []string{"1.2.3", "v1.2", "v1.2.3; true", "main"} {
		out, err := release(t, version, filepath.Join(t.TempDir(), "dist"))
		require.Error(t, err)
		require.Contains(t, string(out), "is no version")
	}
	out, err := release(t, "v1.2.3", t.TempDir())
	require.Error(t, err)
	require.Contains(t, string(out), "is there already")
}
