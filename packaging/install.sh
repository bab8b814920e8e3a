#!/bin/sh
# Installs hwkm from this checkout as a systemd service on Debian 12 or Ubuntu 24.04, or later.
#
#   packaging/install.sh [--token softhsm|swtpm|tpm] [--no-init]
#
# softhsm  a token in software under /var/lib/hwkm/softhsm (default; to try hwkm)
# swtpm    a TPM in software, as the service hwkm-swtpm (to try hwkm)
# tpm      the machine's TPM, /dev/tpmrm0
#
# Made: users and groups hwkm and hwkm-users, /opt/hwkm, /etc/hwkm, /var/lib/hwkm, systemd units.
# A second run upgrades the program and leaves configuration, PIN, token and state alone.
# Run it as root. PYTHON=/usr/bin/python3 chooses another interpreter (3.11 or later).
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(dirname "$here")
prefix=/opt/hwkm
settings=/etc/hwkm
state=/var/lib/hwkm
python=${PYTHON:-/usr/bin/python3}
token=softhsm
initialise=yes

say() { printf '%s\n' "install: $*" >&2; }

die() {
    say "$@"
    exit 1
}

as_hwkm() { runuser -u hwkm -- "$@"; }

random_hex() { # number of bytes
    od -An -v -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
        --token)
            [ $# -ge 2 ] || die "--token needs a value: softhsm, swtpm or tpm"
            token=$2
            shift
            ;;
        --no-init) initialise=no ;;
        *) die "unknown argument $1; usage: install.sh [--token softhsm|swtpm|tpm] [--no-init]" ;;
        esac
        shift
    done
    case $token in
    softhsm | swtpm | tpm) ;;
    *) die "--token is softhsm, swtpm or tpm, not $token" ;;
    esac
}

# A release is named by what it was made from. The link moves last, so a failure half way leaves
# the release in use as it was.
install_program() {
    name=$(cd "$source_dir" && {
        cat requirements/build.txt requirements/runtime.txt pyproject.toml softhsm-config/*
        find hwkm -type f ! -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        "$python" -V
    } | sha256sum | cut -c1-16)
    release=$prefix/releases/$name
    if [ ! -e "$release/complete" ]; then
        say "installing release $name with hash-locked packages"
        rm -rf "$release"
        mkdir -p "$prefix/releases"
        "$python" -m venv "$release"
        pip() { "$release/bin/python" -m pip --disable-pip-version-check --no-input -qq "$@"; }
        pip install --require-hashes --requirement "$source_dir/requirements/build.txt"
        pip install --require-hashes --no-build-isolation --requirement "$source_dir/requirements/runtime.txt"
        build_copy=$(mktemp -d) # setuptools writes into the tree that it builds
        cp -a "$source_dir/hwkm" "$source_dir/pyproject.toml" "$build_copy"
        pip install --no-deps --no-build-isolation --no-index "$build_copy"
        rm -rf "$build_copy"
        install -D -m 0644 -t "$release/share/doc/hwkm" "$source_dir/docs/operations/install.md"
        install -D -m 0755 -t "$release/share/hwkm" "$source_dir"/softhsm-config/*-setup.sh
        install -D -m 0644 -t "$release/share/hwkm" "$source_dir"/softhsm-config/softhsm2.conf.in
        touch "$release/complete"
    fi
    ln -sfn "releases/$name" "$prefix/current.new"
    mv -T "$prefix/current.new" "$prefix/current"
    ln -sf "$prefix/current/bin/hwkm" "$prefix/current/bin/hwkmd" /usr/local/bin/
}

install_units() {
    install -D -m 0644 "$here/systemd/hwkm.sysusers" /etc/sysusers.d/hwkm.conf
    install -D -m 0644 "$here/systemd/hwkm.tmpfiles" /etc/tmpfiles.d/hwkm.conf
    systemd-sysusers hwkm.conf
    systemd-tmpfiles --create hwkm.conf
    install -m 0644 -t /etc/systemd/system "$here"/systemd/hwkmd.service "$here"/systemd/hwkmd.socket \
        "$here"/systemd/hwkm-swtpm.service
    if [ "$token" = tpm ]; then
        install -D -m 0644 "$here/systemd/hwkmd-tpm.conf" /etc/systemd/system/hwkmd.service.d/tpm.conf
    fi
    systemctl daemon-reload
}

write_pin() { # standard input
    (umask 077 && cat >"$settings/token.pin.new")
    mv "$settings/token.pin.new" "$settings/token.pin"
}

prepare_softhsm() {
    as_hwkm "$prefix/current/share/hwkm/softhsm-setup.sh" "$state/softhsm" >/dev/null
    write_pin <"$state/softhsm/pin"
    rm "$state/softhsm/pin" # from now on the PIN reaches the daemon by systemd only
    install -m 0644 "$state/softhsm/softhsm2.conf" "$settings/softhsm2.conf"
    uri=$(cat "$state/softhsm/uri")
}

prepare_swtpm() {
    systemctl enable --quiet --now hwkm-swtpm.service
    directory=/var/lib/swtpm/hwkm
    seconds=0
    while [ ! -S $directory/tpm.sock ]; do
        [ $seconds -lt 30 ] || die "swtpm does not start; see: journalctl -u hwkm-swtpm"
        sleep 1
        seconds=$((seconds + 1))
    done
    write_pin <$directory/pin
    uri=$(cat $directory/uri)
}

prepare_tpm() {
    [ -e /dev/tpmrm0 ] || die "this machine has no TPM 2.0: /dev/tpmrm0 is missing"
    random_hex 32 | write_pin
    uri="tpm:tcti=device:/dev/tpmrm0"
}

configure() {
    if [ -e "$settings/hwkmd.toml" ]; then
        say "$settings/hwkmd.toml exists; configuration, PIN and token are left alone"
        return
    fi
    "prepare_$token"
    sed "s|@TOKEN_URI@|$uri|" "$here/hwkmd.toml.in" >"$settings/hwkmd.toml.new"
    mv "$settings/hwkmd.toml.new" "$settings/hwkmd.toml"
}

# hwkmd init gets what the service gets: the same user, the PIN as a credential, the same state.
initialise_token() {
    if [ -e "$settings/initialised" ]; then return; fi
    groups=
    if getent group tss >/dev/null; then groups=tss; fi
    systemd-run --quiet --wait --collect --pipe --unit=hwkmd-init \
        --property=User=hwkm --property=Group=hwkm --property="SupplementaryGroups=$groups" \
        --property="LoadCredential=token-pin:$settings/token.pin" \
        --property=StateDirectory=hwkm --property=StateDirectoryMode=0700 --property=UMask=0077 \
        --property=NoNewPrivileges=yes --property=LimitCORE=0 --property=LimitMEMLOCK=infinity \
        --property="Environment=SOFTHSM2_CONF=$settings/softhsm2.conf" \
        "$prefix/current/bin/hwkmd" init --config "$settings/hwkmd.toml" </dev/null ||
        die "hwkmd init failed, see above; when the cause is gone, run this again"
    touch "$settings/initialised"
}

main() {
    parse_arguments "$@"
    [ "$(id -u)" -eq 0 ] || die "run this as root"
    [ -d /run/systemd/system ] || die "systemd does not run here; see docs/operations/install.md"
    "$source_dir/softhsm-config/provision.sh" run
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "hwkm needs Python 3.11 or later; set PYTHON="
    install_program
    install_units
    configure
    if [ "$initialise" = no ]; then
        say "installed; the token is not initialised and hwkmd is not started"
        return
    fi
    initialise_token
    systemctl enable --quiet hwkmd.socket hwkmd.service
    systemctl stop hwkmd.socket hwkmd.service
    systemctl start hwkmd.socket hwkmd.service
    say "hwkmd runs; members of group hwkm-users may use it: usermod -aG hwkm-users NAME"
}

main "$@"
