#!/usr/bin/env bash
# Runs a program on drivers of Debian 13's Mesa.
#
#   tools/mesa.sh PROGRAM [ARGUMENT...]         a newer software driver, whose lavapipe has cooperative matrices
#   tools/mesa.sh --amd PROGRAM [ARGUMENT...]   Mesa 25.0.7: AMD's compiler without the card (`cargo xtask isa`), and
#                                               its lavapipe
#   tools/mesa.sh --intel PROGRAM...            Intel's driver of the same Mesa, and its driver for NVIDIA (NVK). Stubs
#   tools/mesa.sh --nvidia PROGRAM...           of the kernel's drivers, from Mesa's source, pretend that the card exists
#   CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=tools/mesa.sh cargo test --test it cooperative
#
# Only for Debian and Ubuntu on x86-64. The drivers and their libraries, including the C library, are fetched from
# Debian 13 into .cache/mesa or .cache/mesa-amd and started with their own loader. Nothing is installed. apt checks
# the signatures with the keys of debian-archive-keyring. The stubs are built from Mesa's source package, in a minute;
# this needs gcc, python3-venv, bison, flex, pkg-config and the headers of libdrm, expat and zlib.
set -euo pipefail
name=mesa release=trixie-backports drivers=(lvp) stub=
case ${1:-} in
    # Mesa 26 no longer makes an AMD device without a card, so the version before it is taken.
    --amd) name=mesa-amd release=trixie drivers=(radeon lvp) && shift ;;
    --intel) name=mesa-amd release=trixie drivers=(intel lvp) stub=intel && shift ;;
    --nvidia) name=mesa-amd release=trixie drivers=(nouveau lvp) stub=nouveau && shift ;;
esac
[ $# -gt 0 ] || { echo "usage: tools/mesa.sh [--amd | --intel | --nvidia] PROGRAM [ARGUMENT...]" >&2; exit 2; }
folder=$(cd "$(dirname "$0")/.." && pwd)/.cache/$name
libraries=$folder/root/usr/lib/x86_64-linux-gnu
keys=/usr/share/keyrings/debian-archive-keyring.gpg

# Fetches the lists of packages, `deb` or `deb-src`. Sets `apt`.
lists() {
    local suite source
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null && [ -e $keys ] &&
        [ "$(uname -m)" = x86_64 ] ||
        { echo "mesa.sh: needs apt-get, dpkg-deb and $keys on x86-64" >&2; return 1; }
    mkdir -p "$folder"/{lists/partial,cache/archives/partial,root}
    for suite in trixie trixie-security trixie-backports; do
        source=debian
        [[ $suite != *-security ]] || source=debian-security
        echo "$1 [signed-by=$keys] http://deb.debian.org/$source $suite main"
    done >"$folder/sources.list"
    # An empty list of installed packages makes apt fetch every dependency.
    : >"$folder/status"
    apt=(apt-get -qq -o Dir::Etc::SourceList="$folder/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::State::Lists="$folder/lists" -o Dir::State::Status="$folder/status"
        -o Dir::Cache="$folder/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1
        -o Acquire::Languages=none -o APT::Install-Recommends=false)
    "${apt[@]}" update >&2
}

fetch() {
    local package
    rm -rf "$folder"
    lists deb
    "${apt[@]}" install -y --download-only -t $release mesa-vulkan-drivers libvulkan1 >&2
    for package in "$folder"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done
    rm -rf "$folder"/{lists,cache}
    touch "$folder/complete"
}

# Builds the stubs of the kernel's drivers, src/drm-shim in Mesa's source.
build_stubs() (
    lists deb-src
    mkdir -p "$folder/stubs/new"
    cd "$folder/stubs/new"
    "${apt[@]}" source --download-only -t $release mesa >&2
    mkdir source && tar -xf mesa_*.orig.tar.xz -C source --strip-components=1
    python3 -m venv tools
    tools/bin/pip --quiet install meson==1.9.1 ninja==1.13.0 mako==1.3.10 pyyaml==6.0.3 packaging==25.0
    export PATH=$PWD/tools/bin:$PATH
    meson setup build source -Dbuildtype=release -Dplatforms= -Dgallium-drivers= -Dvulkan-drivers= \
        -Dtools=drm-shim,intel -Dglx=disabled -Degl=disabled -Dgbm=disabled -Dopengl=false -Dllvm=disabled \
        -Dvalgrind=disabled -Dlibunwind=disabled -Dlmsensors=disabled -Dxmlconfig=disabled -Dc_args=-w >&2
    ninja --quiet -C build src/intel/tools/libintel_noop_drm_shim.so src/drm-shim/libdrm_shim.a \
        src/util/libmesa_util.a >&2
    # Mesa builds it only with a driver that needs more tools.
    gcc -shared -fPIC -O2 -D_GNU_SOURCE -DHAVE_PTHREAD -DHAVE_STRUCT_TIMESPEC \
        -DUTIL_ARCH_LITTLE_ENDIAN=1 -DUTIL_ARCH_BIG_ENDIAN=0 $(pkg-config --cflags libdrm) \
        -Isource/include -Isource/src source/src/nouveau/drm-shim/nouveau_noop.c \
        -Wl,--whole-archive build/src/drm-shim/libdrm_shim.a -Wl,--no-whole-archive \
        build/src/util/libmesa_util.a $(find build/src/util build/src/c11 -name '*.a' ! -name libmesa_util.a) \
        -lpthread -lm -lz -o ../nouveau.so
    cp build/src/intel/tools/libintel_noop_drm_shim.so ../intel.so
    rm -rf "$folder/stubs/new" "$folder"/{lists,cache}
)

preload=()
[ -z "$stub" ] || preload=(--preload "$folder/stubs/$stub.so")
if [ ! -e "$folder/complete" ] || [ ! -e "${preload[1]:-$folder/complete}" ]; then
    # One process at a time: options share the folder.
    mkdir -p "${folder%/*}"
    exec 9>"$folder.lock"
    flock 9
    [ -e "$folder/complete" ] || fetch
    [ -z "$stub" ] || [ -e "$folder/stubs/$stub.so" ] || { rm -rf "$folder/stubs"; build_stubs; }
    exec 9>&-
fi
for driver in "${drivers[@]}"; do
    [ ! -e "$folder/$driver.json" ] || continue
    sed -E "s#\"[^\"]*(libvulkan_$driver)#\"$libraries/\1#" \
        "$folder/root/usr/share/vulkan/icd.d/${driver}_icd.json" >"$folder/$driver.json.$$"
    mv "$folder/$driver.json.$$" "$folder/$driver.json"
done
printf -v files "$folder/%s.json:" "${drivers[@]}"
export VK_DRIVER_FILES=${files%:} VK_ICD_FILENAMES=${files%:}
exec "$folder/root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "${preload[@]}" "$@"
