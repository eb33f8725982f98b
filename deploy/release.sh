#!/usr/bin/env bash
# Builds a release into a directory, dist unless another is named:
#
#     deploy/release.sh v1.2.3 [DIRECTORY]        (make release VERSION=v1.2.3)
#
# The server build for every platform, the full one where the embedded ClickHouse engine
# has a library, the Helm chart, an SBOM (CycloneDX) of each binary, and SHA256SUMS. The
# same commit and Go release give the same bytes. It needs GNU tar.
set -euo pipefail
version=${1:?which version?}
[[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || { echo "release: $version is no version: write v1.2.3 or v1.2.3-rc.1" >&2; exit 2; }
dist=$(realpath -m "${2:-dist}")
cd "$(dirname "$0")/.."
if [[ -e $dist ]]; then echo "release: $dist is there already: remove it first" >&2; exit 2; fi

# What else would find its way into the binaries.
unset GOEXPERIMENT GO386 GOARM
export CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOFLAGS=-buildvcs=auto LC_ALL=C
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir -p "$dist"

# pack NAME DIRECTORY: what is in a directory, as an archive without a trace of when and by whom.
pack() {
  tar --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mode=u+rw,go=rX --mtime="@$epoch" --dereference -C "$2" -cf - $(ls "$2") |
    gzip -n9 > "$dist/$1"
}

# sbom BINARY NAME: of the modules that went into it.
sbom() {
  env -u GOOS -u GOARCH "${GO:-go}" run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin \
    -json -std -noserial -notimestamp -version "$version" -output "$dist/$2" "$1"
}

# binary TARGET PROGRAM NAME OS ARCH
binary() {
  local stage=$temp/$3-$4-$5 name=$3_${version}_$4_$5
  mkdir -p "$stage"
  GOOS=$4 GOARCH=$5 make --no-print-directory "$1" BIN="$temp/bin" VERSION="$version"
  mv "$temp/bin/$2" "$stage/plumbline"
  sbom "$stage/plumbline" "$name.cdx.json"
  cp LICENSE "$stage/"
  if [[ $4 = linux ]]; then cp -r deploy/systemd "$stage/"; fi
  pack "$name.tar.gz" "$stage"
}

for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}; do
  binary build-server plumbline-server plumbline-server "${platform%/*}" "${platform#*/}"
done
binary build plumbline plumbline linux amd64 # elsewhere the engine has no library that could be checked

mkdir "$temp/chart"
cp -rL deploy/helm/plumbline "$temp/chart/"
sed -i -e "s/^version: .*/version: ${version#v}/" -e "s/^appVersion: .*/appVersion: $version/" "$temp/chart/plumbline/Chart.yaml"
pack "plumbline-chart_$version.tgz" "$temp/chart"

(cd "$dist" && sha256sum -- * > "$temp/sums" && mv "$temp/sums" SHA256SUMS)
echo "release: $(wc -l < "$dist/SHA256SUMS") files in $dist"
