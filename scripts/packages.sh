# Sourced by the other scripts: installs what is missing on a Debian or Ubuntu system, and minds who owns what is made.
# usage: need_packages NAME...
need_packages() {
    missing=
    for p in "$@"; do
        dpkg-query -W -f '${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "this script installs with apt-get, which is not here; please install:$missing" >&2
        return 1
    fi
    as_root=
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null 2>&1; then
            echo "not root and no sudo; please install as root:$missing" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "installing:$missing"
    # The package lists may be older than the mirror: refresh once, then install.
    $as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update && apt-get -qq -y install$missing" >/dev/null
}

# give_back FOLDER...: what was made through sudo in a user's own clone belongs to that user, who can then go on
# without sudo.
give_back() {
    [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$(stat -c %u .)" = "$SUDO_UID" ] || return 0
    for made in "$@"; do
        [ ! -d "$made" ] || chown -R "$SUDO_UID:$SUDO_GID" "$made"
    done
}

# What building and running takes.
base_packages="gcc libc6-dev meson ninja-build pkg-config libopenblas0-pthread libopenblas-pthread-dev liblua5.4-dev lua5.4
libcjson-dev libpcre2-dev libutf8proc-dev libgcrypt20-dev zlib1g-dev libzstd-dev"
