package chdb

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// The pinned library. The two sums are checked on every way in: the first over
// the package as the registry has it, the second over the library inside.
const (
	npmPackage    = "@chdb/lib-linux-x64-gnu"
	npmVersion    = "26.7.3-stable.1"
	npmIntegrity  = "sha512-XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="
	packageSize   = 177817999
	libraryName   = "libchdb.so"
	librarySHA256 = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5"
	librarySize   = 566330096
)

// CacheEnv names the variable that moves the cache out of the user's cache
// directory.
const CacheEnv = "PLUMBLINE_CACHE"

var (
	// ErrMissing is what errors.Is finds where the library is not installed.
	ErrMissing = errors.New("the embedded ClickHouse engine is not installed")
	// ErrUnsupported is what errors.Is finds where there is no library for this
	// platform.
	ErrUnsupported = errors.New("the embedded ClickHouse engine does not run on this platform")
	// ErrCorrupt is what errors.Is finds where what came is not what is pinned.
	ErrCorrupt = errors.New("not the pinned ClickHouse engine")
)

// InstallOptions says where to and how loud.
type InstallOptions struct {
	// CacheDir is the directory for the library. Default: that of CacheEnv, else
	// plumbline in the user's cache directory.
	CacheDir string
	// Progress, if set, gets a line now and then; one that rewrites itself on a
	// terminal.
	Progress io.Writer
}

// Path returns where the library is, or an error that is ErrMissing or
// ErrUnsupported. An empty cacheDir is the default of InstallOptions.
func Path(cacheDir string) (string, error) {
	if err := supported(); err != nil {
		return "", err
	}
	dir, err := libraryDir(cacheDir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, libraryName)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && info.Size() != librarySize:
		return "", fmt.Errorf("%w: run `plumbline setup` (in a checkout: `make setup`) once, which fetches %d MB; or set clickhouse.addr to a ClickHouse server", ErrMissing, packageSize/1_000_000)
	case err != nil:
		return "", fmt.Errorf("look for the embedded ClickHouse engine: %w", err)
	}
	return path, nil
}

func supported() error {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return nil
	}
	return fmt.Errorf("%w (%s/%s; it runs on linux/amd64 with glibc): set clickhouse.addr to a ClickHouse server", ErrUnsupported, runtime.GOOS, runtime.GOARCH)
}

func libraryDir(cacheDir string) (string, error) {
	if cacheDir == "" {
		cacheDir = os.Getenv(CacheEnv)
	}
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find the cache directory (%s sets it): %w", CacheEnv, err)
		}
		cacheDir = filepath.Join(user, "plumbline")
	}
	return filepath.Join(cacheDir, "chdb-"+npmVersion), nil
}

// Install returns where the library is, and fetches it first where it is
// missing: with the machine's npm configuration, verified, and once, however
// many processes ask at the same time.
func Install(ctx context.Context, opts InstallOptions) (string, error) {
	if path, err := Path(opts.CacheDir); err == nil || !errors.Is(err, ErrMissing) {
		return path, err
	}
	dir, err := libraryDir(opts.CacheDir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("create the cache directory: %w", err)
	}
	out := newProgress(opts.Progress)
	unlock, err := lockInstall(ctx, filepath.Join(dir, "install.lock"), out)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := Path(opts.CacheDir); err == nil {
		return path, nil // another process was faster
	}
	if err := fetchLibrary(ctx, dir, out); err != nil {
		return "", fmt.Errorf("fetch the embedded ClickHouse engine (%s@%s): %w", npmPackage, npmVersion, err)
	}
	out.line("The embedded ClickHouse engine is installed.")
	return Path(opts.CacheDir)
}

// lockInstall waits for its turn. The lock goes with the process.
func lockInstall(ctx context.Context, path string, out *progress) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the cache directory: %w", err)
	}
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = file.Close()
			return nil, fmt.Errorf("lock the cache directory: %w", err)
		}
		if !waiting {
			out.line("Another process is fetching the embedded ClickHouse engine; waiting for it.")
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("wait for another process that fetches the embedded ClickHouse engine: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// fetchLibrary puts the library into dir: straight from where npm says that the
// package is, or, where that fails, through npm itself, which knows more about
// proxies and credentials.
func fetchLibrary(ctx context.Context, dir string, out *progress) error {
	// What a killed process left; the lock says that nobody else is at it.
	for _, pattern := range []string{libraryName + ".*", "*.tgz"} {
		left, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range left {
			_ = os.Remove(file)
		}
	}
	out.line(fmt.Sprintf("Fetching the embedded ClickHouse engine, %d MB, once.", packageSize/1_000_000))
	body, err := download(ctx)
	if err == nil {
		err = unpack(body, dir, out)
		_ = body.Close()
	}
	switch {
	case err == nil, ctx.Err() != nil, errors.Is(err, ErrCorrupt):
		return err
	case errors.Is(err, errNoNPM):
		return fmt.Errorf("%w: install Node.js, or put the package's %s into %s", err, libraryName, dir)
	}
	out.line("The direct download failed (" + err.Error() + "); asking npm to fetch the package.")
	packed, packErr := npmPack(ctx, dir)
	if packErr != nil {
		return errors.Join(err, packErr)
	}
	defer func() { _ = os.Remove(packed) }()
	file, packErr := os.Open(packed)
	if packErr != nil {
		return fmt.Errorf("open the package: %w", packErr)
	}
	defer func() { _ = file.Close() }()
	return unpack(file, dir, out)
}

// unpack reads the package once: its sum, its compression, its archive, and the
// library inside with its sum. The library gets its name when both sums are right.
func unpack(body io.Reader, dir string, out *progress) error {
	whole := sha512.New()
	counted := io.TeeReader(body, io.MultiWriter(whole, out))
	defer out.end()
	zipped, err := gzip.NewReader(counted)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	temp, err := os.CreateTemp(dir, libraryName+".*")
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer func() {
		_ = temp.Close()
		_ = os.Remove(temp.Name()) // it has another name by then, or is not wanted
	}()
	sum := sha256.New()
	found := false
	archive := tar.NewReader(zipped)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if filepath.Base(head.Name) != libraryName || found {
			continue
		}
		found = true
		if _, err := io.Copy(io.MultiWriter(temp, sum), io.LimitReader(archive, librarySize+1)); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil { // what stands behind the archive is in the sum too
		return fmt.Errorf("download: %w", err)
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(whole.Sum(nil)); got != npmIntegrity {
		return fmt.Errorf("%w: the package has the sum %s, want %s", ErrCorrupt, got, npmIntegrity)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != librarySHA256 {
		return fmt.Errorf("%w: %s has the sum %s, want %s", ErrCorrupt, libraryName, got, librarySHA256)
	}
	return publish(temp, filepath.Join(dir, libraryName))
}

// publish gives the file its name once it is on the disk.
func publish(file *os.File, path string) error {
	if err := file.Chmod(0o755); err != nil {
		return fmt.Errorf("publish library: %w", err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("publish library: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("publish library: %w", err)
	}
	return nil
}
