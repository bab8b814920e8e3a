#!/bin/sh
# Make a SoftHSM token with a random label and a random PIN under a directory.
#
#   softhsm-setup.sh DIR
#
# Prints the token's URI. Afterwards DIR holds
#   softhsm2.conf   export SOFTHSM2_CONF=DIR/softhsm2.conf before the library is loaded
#   tokens/         the token itself
#   pin             the user PIN, mode 0600
#   so-pin          the security officer's PIN, mode 0600: for hwkmd init --so-pin-file only
#   uri             what was printed
# A second run on the same DIR only prints the URI again.
set -eu
umask 077

die() {
    echo "softhsm-setup.sh: $*" >&2
    exit 1
}

random_hex() { # number of bytes
    od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

module_path() {
    for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so \
        /usr/lib64/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
        if [ -r "$path" ]; then
            echo "$path"
            return
        fi
    done
    die "libsofthsm2.so is not installed (Debian: apt-get install softhsm2)"
}

# softhsm2-util takes PINs from argv, where every user of the machine can read them, or from a
# terminal. So it gets a terminal: script(1) makes one, and its echo goes nowhere.
make_token() { # label, PIN, SO PIN
    printf '%s\n%s\n%s\n%s\n' "$3" "$3" "$2" "$2" |
        script -qec "softhsm2-util --init-token --free --label $1" /dev/null >/dev/null ||
        die "softhsm2-util could not make the token"
}

[ $# -eq 1 ] || die "usage: softhsm-setup.sh DIR"
command -v softhsm2-util >/dev/null || die "softhsm2-util is not installed (Debian: apt-get install softhsm2)"
command -v script >/dev/null || die "script is not installed (Debian: apt-get install bsdutils)"

mkdir -p "$1"
dir=$(cd "$1" && pwd)
if [ ! -e "$dir/uri" ]; then
    here=$(cd "$(dirname "$0")" && pwd)
    module=$(module_path)
    mkdir "$dir/tokens" || die "$dir holds an unfinished set-up; remove it and try again"
    sed "s|@TOKENDIR@|$dir/tokens|" "$here/softhsm2.conf.in" >"$dir/softhsm2.conf"
    SOFTHSM2_CONF=$dir/softhsm2.conf
    export SOFTHSM2_CONF
    label=hwkm-$(random_hex 4)
    pin=$(random_hex 16)
    so_pin=$(random_hex 16)
    make_token "$label" "$pin" "$so_pin"
    softhsm2-util --show-slots | grep -q "$label" || die "softhsm2-util made no token"
    printf '%s' "$pin" >"$dir/pin"
    printf '%s' "$so_pin" >"$dir/so-pin"
    echo "pkcs11:token=$label?module-path=$module" >"$dir/uri.new"
    mv "$dir/uri.new" "$dir/uri" # last, so that it marks a finished set-up
fi
cat "$dir/uri"
