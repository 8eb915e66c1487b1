#!/usr/bin/env bash
# with-systemd.sh - run a command inside a throw-away Debian that a real systemd has booted.
#
#   with-systemd.sh [OPTION]... -- COMMAND [ARG]...
#
# Boots systemd as PID 1 of new PID, mount, network, IPC, UTS and cgroup namespaces on a
# copy-on-write view of a cached Debian tree, installs the given .deb files inside it, and runs
# COMMAND as the unprivileged user "tester" in a real login session: logind, PAM, journald,
# `systemctl --user`, `journalctl --user` and the session bus are real.
# COMMAND's output is passed through, its exit status is returned, and nothing is left behind.
#
# Options:
#   --deb PATH        install this package (repeatable; all go to one `apt-get install`, offline)
#   --session-first   start tester's user manager BEFORE the packages are installed
#                     (default: packages first, as for a user who logs in afterwards)
#   --bind SRC[:DST]  make SRC visible inside, read-only (DST defaults to SRC; repeatable)
#   --bind-rw SRC[:DST]  the same, writable
#   --env NAME[=VAL]  pass an environment variable to COMMAND (repeatable)
#   --journal PATH    afterwards, write the whole journal there (all users and the system)
#   --packages A,B    extra Debian packages for the base tree (a base tree per distinct list)
#   --suite NAME      Debian suite (default: this machine's)
#   --prepare         only build the base tree, then exit
#   --tree            the same, and say where it is
#   -h, --help        this text
#
# Inside: tester may use passwordless sudo; a second account "bystander" exists;
# `as-user NAME COMMAND...` (root) runs COMMAND in a login session of NAME.
# There is no network but the namespace's own loopback, so concurrent runs can all use the same
# TCP port. Anything COMMAND writes is discarded, except below a --bind-rw path.
#
# Environment: WITH_SYSTEMD_CACHE   where base trees are kept
#                                   (default: ${XDG_CACHE_HOME:-$HOME/.cache}/with-systemd)
# Needs: root, Linux with cgroup2 and overlayfs, util-linux, iproute2, and, for the first run
# only, mmdebstrap or debootstrap plus a reachable Debian mirror (the one apt is configured with;
# for another suite than this machine's the same mirror is asked).
# Exit status: COMMAND's; 125 if the system itself could not be brought up.

# shellcheck disable=SC1091,SC2001,SC2015,SC2317 # sourced, sed, "A && B || true", called by trap
set -euo pipefail
umask 022 # what is made here is a system's file tree, which its users must be able to enter
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # su leaves these out

readonly base_packages=systemd,systemd-sysv,libpam-systemd,dbus,dbus-user-session,sudo,procps,iproute2,less
readonly tree_version=2 # raise when prepare_tree changes

fail() { printf 'with-systemd: %s\n' "$*" >&2; exit 125; }
usage() { sed -n '2,/^$/{/^#/s/^# \{0,1\}//p}' "$0"; }

# All mounts below are made in a private mount namespace: they vanish with this process.
if [ "$(id -u)" = 0 ] && [ -z "${WITH_SYSTEMD_NAMESPACE-}" ]; then
    WITH_SYSTEMD_NAMESPACE=1 exec unshare --mount --propagation private "$0" "$@"
fi
unset WITH_SYSTEMD_NAMESPACE

debs=() binds=() command_env=() session_first=0 journal='' packages='' suite='' prepare=0 say_tree=0
while [ $# -gt 0 ]; do
    case $1 in
        --deb) [ -f "$2" ] || fail "no such package: $2"; debs+=("$2"); shift 2 ;;
        --session-first) session_first=1; shift ;;
        --bind) binds+=("ro:$2"); shift 2 ;;
        --bind-rw) binds+=("rw:$2"); shift 2 ;;
        --env) case $2 in *=*) command_env+=("$2") ;; *) command_env+=("$2=${!2-}") ;; esac; shift 2 ;;
        --journal) journal=$2; shift 2 ;;
        --packages) packages=$2; shift 2 ;;
        --suite) suite=$2; shift 2 ;;
        --prepare) prepare=1; shift ;;
        --tree) prepare=1 say_tree=1; shift ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) usage >&2; fail "unknown option: $1" ;;
    esac
done
[ $prepare = 1 ] || [ $# -gt 0 ] || { usage >&2; exit 125; }
[ "$(id -u)" = 0 ] || fail 'must run as root (it creates namespaces and mounts)'

# --- the base tree: built once per suite and package list, then only ever read -----------------

# Prints "URI SUITE COMPONENTS..." for each Debian source of our suite, on the mirrors that apt
# knows here for that suite or, failing that, for this machine's own.
debian_sources() {
    local known
    # shellcheck disable=SC2016 # those are apt's
    known=$(apt-get indextargets --format '$(ORIGIN)|$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        sed -n 's/^Debian[^|]*|//p' | sort -u)
    grep -Eq " $suite(-updates|-security)? " <<<"$known" ||
        known=$(sed -nE "s/ $own_suite(-updates|-security)? / $suite\1 /p" <<<"$known")
    awk -v suite="$suite" '$2 ~ "^" suite "(-updates|-security)?$" { k = $1 " " $2; c[k] = c[k] " " $3 } END { for (k in c) print k c[k] }' <<<"$known" | sort
}

# Prepares what every run shares: accounts, sudo, and masks for units that need hardware.
prepare_tree() {
    local tree=$1 unit
    chroot "$tree" useradd --create-home --shell /bin/bash --uid 1000 tester
    chroot "$tree" useradd --create-home --shell /bin/bash --uid 1001 bystander
    printf 'tester ALL=(ALL) NOPASSWD: ALL\n' >"$tree/etc/sudoers.d/tester"
    chmod 440 "$tree/etc/sudoers.d/tester"
    printf 'with-systemd\n' >"$tree/etc/hostname"
    printf '127.0.0.1 localhost with-systemd\n::1 localhost\n' >"$tree/etc/hosts"
    : >"$tree/etc/default/locale"
    # mmdebstrap/debootstrap leave a policy that forbids starting services; this is no chroot.
    rm -f "$tree/usr/sbin/policy-rc.d" "$tree/etc/resolv.conf"
    install -d -m 2755 -g "$(chroot "$tree" getent group systemd-journal | cut -d: -f3)" "$tree/var/log/journal"
    for unit in getty.target console-getty.service systemd-udevd.service dev-hugepages.mount \
        sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
        sys-fs-fuse-connections.mount modprobe@.service systemd-sysctl.service \
        e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer \
        apt-daily-upgrade.timer dpkg-db-backup.timer; do
        ln -sf /dev/null "$tree/etc/systemd/system/$unit"
    done
    cat >"$tree/usr/local/bin/as-user" <<'AS_USER'
#!/bin/bash
# as-user NAME COMMAND [ARG]... - run COMMAND in a login session of NAME (root only)
[ $# -ge 2 ] || { echo 'usage: as-user NAME COMMAND [ARG]...' >&2; exit 2; }
user=$1; shift
mode=--pipe; [ -t 0 ] && [ -t 1 ] && mode=--pty
# systemd would substitute $NAME in arguments: $$ keeps it literal. Not --service-type=exec: with
# PAM systemd 252 never sees that the command was executed, and ends it after 90 s.
exec systemd-run --quiet --wait --collect $mode --service-type=simple \
    -p PAMName=login -p User="$user" -p WorkingDirectory='~' \
    ${TERM:+-E TERM="$TERM"} -- "${@//\$/\$\$}"
AS_USER
    chmod 755 "$tree/usr/local/bin/as-user"
}

build_tree() {
    local tree=$1 include=$2 log=$1.log sources
    sources=$(debian_sources)
    [ -n "$sources" ] || fail "apt knows no Debian mirror here (run \`apt-get update\` first)"
    if command -v mmdebstrap >/dev/null; then
        sed 's/^/deb /' <<<"$sources" |
            mmdebstrap --mode=root --variant=minbase --include="$include" "$suite" "$tree" - >"$log" 2>&1
    elif command -v debootstrap >/dev/null; then
        debootstrap --variant=minbase --include="$include" "$suite" "$tree" \
            "$(awk -v s="$suite" '$2 == s { print $1; exit }' <<<"$sources")" >"$log" 2>&1
    else
        fail 'neither mmdebstrap nor debootstrap is installed'
    fi || { tail -n 20 "$log" >&2; fail "building the base tree failed (log: $log)"; }
    prepare_tree "$tree"
    rm -f "$log"
}

own_suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
[ -n "$suite" ] || suite=$own_suite
include=$base_packages${packages:+,$packages}
cache=${WITH_SYSTEMD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/with-systemd}
tree=$cache/$suite-v$tree_version-$(printf %s "$include" | sha256sum | cut -c1-12)
if [ ! -d "$tree" ]; then
    mkdir -p "$cache"
    exec {lock}>"$tree.lock"
    flock "$lock"
    if [ ! -d "$tree" ]; then # no other run built it meanwhile
        rm -rf --one-file-system "$tree.new"
        build_tree "$tree.new" "$include"
        mv -T "$tree.new" "$tree"
    fi
    exec {lock}>&-
fi
[ $say_tree = 0 ] || printf '%s\n' "$tree"
[ $prepare = 0 ] || exit 0

# --- the run --------------------------------------------------------------------------------------

for stale in "$cache"/run.*; do # left by a run that was SIGKILLed
    pid=${stale##*/run.} && pid=${pid%%.*}
    [ ! -d "$stale" ] || [ -d "/proc/$pid" ] || rmdir "$stale" || :
done
work=$(mktemp -d "$cache/run.$$.XXXXXX")
cgroup='' supervisor=''
teardown() {
    set +e
    trap - EXIT INT TERM HUP
    [ -z "$supervisor" ] || { kill -KILL "$supervisor" && wait "$supervisor"; } 2>/dev/null
    if [ -n "$cgroup" ]; then
        # PID 1 of the namespace is dead, so the kernel is killing all that it held; await that.
        for _ in $(seq 100); do
            grep -q '^populated 0' "$cgroup/cgroup.events" && break
            sleep 0.05
        done
        find "$cgroup" -depth -type d -exec rmdir {} +
    fi
    umount -l "$work"
    rmdir "$work"
} 2>/dev/null
trap teardown EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

mount -t tmpfs -o mode=755 with-systemd "$work"
mkdir "$work"/{cgroup,upper,workdir,root,stage}
root=$work/root
mount -t overlay -o "lowerdir=$tree,upperdir=$work/upper,workdir=$work/workdir" overlay "$root" ||
    fail 'cannot mount an overlay'
mount -t cgroup2 cgroup2 "$work/cgroup" || fail 'this kernel has no cgroup2'
for stale in "$work"/cgroup/with-systemd.*; do # likewise
    [ -d "$stale" ] && [ ! -d "/proc/${stale##*.}" ] &&
        find "$stale" -depth -type d -exec rmdir {} + 2>/dev/null || :
done
cgroup=$work/cgroup/with-systemd.$$
mkdir "$cgroup" || fail 'cannot create a cgroup'

tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id" # not a "first boot": no preset-all
mkdir -p "$root/debs"
for deb in ${debs[@]+"${debs[@]}"}; do cp -- "$deb" "$root/debs/"; done
for bind in ${binds[@]+"${binds[@]}"}; do
    mode=${bind%%:*} src=${bind#*:}
    dst=${src#*:} src=$(realpath -e -- "${src%%:*}") || fail "cannot bind: $bind"
    [ "${dst#/}" != "$dst" ] || dst=$src
    printf '%s\t%s\t%s\n' "$mode" "$src" "$dst"
done >"$work/stage/binds"

# Runs as PID 1 of the new PID namespace and becomes systemd. The cgroup namespace is made only
# once we sit in our own cgroup; `unshare` itself stays outside it, as it is not in our PID namespace.
cat >"$work/stage/boot" <<'BOOT'
set -euo pipefail
if [ "$1" = join ]; then
    echo 0 >"$3/cgroup.procs"
    exec unshare --cgroup bash "$0" boot "$2"
fi
root=$2 stage=${0%/*}
ip link set lo up
hostname with-systemd
mount -t proc -o nosuid,noexec,nodev proc "$root/proc"
for path in sys sysrq-trigger; do # the kernel's settings must not be changed
    [ -e "$root/proc/$path" ] || continue
    mount --bind "$root/proc/$path" "$root/proc/$path"
    mount -o remount,bind,ro "$root/proc/$path"
done
mount -t sysfs -o ro,nosuid,noexec,nodev sysfs "$root/sys"
mount -t cgroup2 -o nosuid,noexec,nodev,nsdelegate cgroup2 "$root/sys/fs/cgroup" 2>/dev/null ||
    mount -t cgroup2 -o nosuid,noexec,nodev cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for n in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${n%%:*}" "$root/dev/${n#*:}"; done
while IFS=$'\t' read -r mode src dst; do
    if [ -d "$src" ]; then mkdir -p "$root$dst"; else mkdir -p "$root${dst%/*}" && : >>"$root$dst"; fi
    mount --rbind "$src" "$root$dst"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$root$dst"
done <"$stage/binds"
ulimit -Hn 524288 2>/dev/null || : # systemd's own defaults, where this machine lets us raise them
ulimit -Sn 1024
cd "$root"
mkdir .host
pivot_root . .host
umount -l /.host
rmdir /.host
exec env -i container=with-systemd PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_time,-sys_module,-sys_rawio,-syslog,-mac_admin,-mac_override,-mknod,-wake_alarm,-block_suspend \
    /lib/systemd/systemd --system --log-target=journal </dev/null >/dev/null 2>&1
BOOT

setpriv --pdeathsig KILL unshare --mount --propagation private --pid --net --uts --ipc --fork --kill-child \
    bash "$work/stage/boot" join "$root" "$cgroup" </dev/null 2>"$work/stage/boot.log" &
supervisor=$!

inside() { nsenter --target "$init" --mount --pid --uts --ipc --net --cgroup -- "$@"; }
init='' state=''
for _ in $(seq 300); do
    kill -0 "$supervisor" 2>/dev/null || { cat "$work/stage/boot.log" >&2; fail 'systemd did not start'; }
    [ -n "$init" ] || init=$(pgrep -P "$supervisor" || :)
    if [ -n "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ]; then
        state=$(inside systemctl is-system-running 2>/dev/null || :)
        case $state in running) break ;; degraded) inside systemctl --failed --no-pager >&2; break ;; esac
    fi
    sleep 0.05
done
case $state in running | degraded) ;; *) fail "systemd did not come up within 15 s (${state:-no answer})" ;; esac

inside_root() { inside systemd-run --quiet --wait --collect --pipe "$@" </dev/null; }
install_debs() {
    [ ${#debs[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2016
    inside_root -E DEBIAN_FRONTEND=noninteractive -- sh -c \
        'apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends --allow-downgrades /debs/*.deb' >"$work/stage/apt.log" 2>&1 ||
        { cat "$work/stage/apt.log" >&2; fail 'installing the packages failed'; }
}
log_in() {
    inside loginctl enable-linger tester # the user manager outlives the session, as on a desktop
    inside_root -- systemctl start user@1000.service
}
if [ $session_first = 1 ]; then log_in; install_debs; else install_debs; log_in; fi

set +e
inside as-user tester env ${command_env[@]+"${command_env[@]}"} "$@"
status=$?
[ -z "$journal" ] || { inside journalctl --sync; inside journalctl --no-pager --output=short-precise; } >"$journal"
exit $status
