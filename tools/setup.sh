#!/usr/bin/env bash
# Installs the packages that lfm2-wgpu needs on this machine. A second run does nothing.
#
#   tools/setup.sh          packages to build and run: a C linker, a Vulkan loader and driver
#   tools/setup.sh --dev    also packages for tests/ and web/: rustfmt, clippy, a compiler for C++, Python, Node,
#                           Tint, a compiler for wasm32, Chromium, HAProxy, and Wine for DX12's compilers
#
# On Debian and Ubuntu it uses apt-get, with sudo if you are not root. On other systems it lists the packages.
set -euo pipefail
cd "$(dirname "$0")/.."

dev=no
case "${1:-}" in
    "") ;;
    --dev) dev=yes ;;
    *) echo "usage: tools/setup.sh [--dev]" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# 1. Rust.
have cargo || die "no cargo. Install Rust from https://rustup.rs and run this again."
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
version=$(rustc --version | awk '{print $2}')
if [ "$(printf '%s\n' "$needed" "$version" | sort -V | head -n 1)" != "$needed" ]; then
    die "Rust $version is too old, lfm2-wgpu needs $needed. Run: rustup update stable"
fi
if [ "$dev" = yes ]; then
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
fi
# If rustup cannot fetch the target for wasm32, Debian's compiler builds it from source.
wasm=wasm32-unknown-unknown
has_wasm() {
    [ -d "$(rustc --print target-libdir --target $wasm)" ] ||
        rustup target add $wasm >/dev/null 2>&1 ||
        [ -d /usr/share/doc/rustc-web ]
}

# 2. Packages of the system. `missing` collects Debian's names.
missing=()
has_vulkan_loader() {
    case "$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null)" in
        *libvulkan.so.1*) ;;
        *) return 1 ;;
    esac
}
has_vulkan_driver() {
    [ -z "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] || return 0
    local dir
    for dir in /usr/share /usr/local/share /etc "$HOME/.local/share"; do
        ! compgen -G "$dir/vulkan/icd.d/*.json" >/dev/null || return 0
    done
    return 1
}
if ! have cc; then missing+=(gcc libc6-dev); fi
if [ "$(uname -s)" = Linux ]; then
    has_vulkan_loader || missing+=(libvulkan1)
    has_vulkan_driver || missing+=(mesa-vulkan-drivers)
fi
if [ "$dev" = yes ]; then
    have c++ || missing+=(g++)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
    have node || missing+=(nodejs)
    have npm || missing+=(npm)
    have chromium || [ -n "${CHROMIUM:-}" ] || missing+=(chromium)
    PATH="$PATH:/usr/sbin" have haproxy || missing+=(haproxy)
    has_wasm || missing+=(rustc-web cargo-web rust-web-src lld-19)
    # tests/it/dx12.rs runs DX12's compilers. Elsewhere it is skipped.
    if [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] && have apt-get; then
        tools/dx12/compile.sh --programs || missing+=(wine64 gcc-mingw-w64-x86-64-win32)
    fi
fi

if [ ${#missing[@]} -gt 0 ]; then
    case "$(uname -s)" in
        Darwin) die "missing: ${missing[*]}. The compiler comes with: xcode-select --install" ;;
        Linux) ;;
        *) die "missing: ${missing[*]} (Debian's names). Install them and run this again." ;;
    esac
    if ! have apt-get; then
        say "missing (Debian's names): ${missing[*]}"
        say "Fedora: sudo dnf install gcc gcc-c++ vulkan-loader mesa-vulkan-drivers python3 nodejs npm chromium haproxy"
        say "Arch:   sudo pacman -S gcc vulkan-icd-loader vulkan-swrast python nodejs npm chromium haproxy"
        die "Install them and run this again."
    fi
    install=(apt-get install -y --no-install-recommends "${missing[@]}")
    if [ "$(id -u)" = 0 ]; then
        as_root=(env DEBIAN_FRONTEND=noninteractive)
    elif have sudo; then
        as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
    else
        die "not root and no sudo. As root, run: apt-get update && ${install[*]}"
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq </dev/null >&2
    "${as_root[@]}" "${install[@]}" -qq </dev/null >&2
fi

if [ "$dev" = yes ] && [ "$(printf 'v20.19.0\n%s\n' "$(node --version)" | sort -V | head -n 1)" != v20.19.0 ]; then
    die "Node $(node --version) is too old: Vite needs 20.19 or newer. Install it from https://nodejs.org"
fi

# 3. npm packages: TypeScript, wasm-opt, playwright-core and Dawn (with Tint, Chromium's shader compiler) in web; Vite
# and the chat page's libraries in examples/web.
for folder in web examples/web; do
    if [ "$dev" = yes ] && ! cmp -s $folder/package-lock.json $folder/node_modules/.lock; then
        say "installing the packages of $folder"
        npm ci --ignore-scripts --no-audit --no-fund --prefix $folder >&2
        cp $folder/package-lock.json $folder/node_modules/.lock
    fi
done
say "ready"
