package test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheImageHoldsAStaticProgramAndNoShell(t *testing.T) {
	var files []string
	require.NoError(t, filepath.WalkDir(image, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, image))
		}
		return err
	}))
	require.ElementsMatch(t, []string{"/usr/bin/plumbline", "/usr/share/zoneinfo.zip", "/etc/ssl/certs/ca-certificates.crt", "/etc/passwd", "/etc/group"}, files)
	program, err := elf.Open(binary)
	require.NoError(t, err)
	defer program.Close() //nolint:errcheck // it was only read
	for _, p := range program.Progs {
		require.NotEqual(t, elf.PT_INTERP, p.Type, "it is linked dynamically")
	}
}

// inside is a command that runs the program as the image would be run: as its user,
// without privileges to gain, with a root that can't be written to.
func inside(t *testing.T, root string, args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can enter the image")
	}
	const script = `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec setpriv --no-new-privs chroot --userspec=65532:65532 "$0" /usr/bin/plumbline "$@"`
	return exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, root}, args...)...)
}

func TestTheProgramRunsAsNobodyOnAReadOnlyRoot(t *testing.T) {
	out, err := inside(t, image, "version").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "plumbline v0.0.0-test (")
	require.Contains(t, string(out), "server build")
}

// The builder's stage is what rootfs.sh has done above; buildah takes it from there.
func TestBuildahBuildsTheFinalStage(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("SKIPPED: buildah is not on this machine")
	}
	dir := t.TempDir()
	buildah := func(args ...string) string {
		return output(t, "buildah", append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs"}, args...)...)
	}
	buildah("bud", "--isolation", "chroot", "-f", "../container/Containerfile", "--build-context", "build="+filepath.Dir(image),
		"--build-arg", "VERSION=v0.0.0-test", "-t", "plumbline:test", "../..")
	config := buildah("inspect", "--type", "image", "--format",
		`{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{index .OCIv1.Config.Labels "org.opencontainers.image.version"}}`, "plumbline:test")
	require.Equal(t, "65532:65532 [/usr/bin/plumbline] [run --config /etc/plumbline/plumbline.yaml] v0.0.0-test", strings.TrimSpace(config))
}
