#!/bin/sh
# Copyright: (c) 2026, the campus.upki contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# root.sh RELEASE MIRROR SECURITY-MIRROR FOLDER PACKAGE...
#
# The root file system of one Debian release with these packages, as lab.py overlays it. lab.py runs this in a mount and
# a process namespace of its own, so that whatever ends it leaves no mount and no process behind.
set -eu
release=$1 mirror=$2 security=$3 root=$4
shift 4
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

debootstrap --variant=minbase "$release" "$root" "$mirror"

# No service starts in here; and this is a cache, so nothing needs to reach the disk at once.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/lab"
printf 'path-exclude=/usr/share/%s/*\n' doc man locale >>"$root/etc/dpkg/dpkg.cfg.d/lab"
mount -t proc proc "$root/proc"

# Security updates where the mirror still has them for this release.
echo "deb $mirror $release main" >"$root/etc/apt/sources.list"
[ -z "$security" ] || echo "deb $security $release-security main" >"$root/etc/apt/sources.list.d/security.list"
chroot "$root" apt-get -q update || {
    rm -f "$root/etc/apt/sources.list.d/security.list"
    chroot "$root" apt-get -q update
}
chroot "$root" apt-get -q -y --no-install-recommends install "$@"
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/* "$root/usr/sbin/policy-rc.d" "$root/etc/dpkg/dpkg.cfg.d/lab"

# A new machine: no identity, no network of its own making, no timers that would work in the middle of a test.
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/etc/hostname"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    logrotate.timer man-db.timer apache2.service nginx.service postfix.service dovecot.service slapd.service \
    systemd-networkd.service systemd-resolved.service getty@.service console-getty.service; do
    rm -f "$root"/etc/systemd/system/*.wants/"$unit"
done
# Messages of the services to a file that can be read when a host is down.
mkdir -p "$root/var/log/journal" "$root/root/.ssh"
chmod 0700 "$root/root/.ssh"
