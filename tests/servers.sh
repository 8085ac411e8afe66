#!/bin/sh
# Installs the packages of tests/servers.txt that are missing, without starting them.  Needs root and apt-get;
# without these it says what to type, and the tests that need a server are skipped by name (in CI they fail).
set -eu
packages=$(sed 's/#.*//' "$(dirname "$0")/servers.txt")
missing=
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Some tests will be skipped: real servers are missing. To install them: sudo apt-get install$missing" >&2
    exit 0
fi

echo "Installing the servers that tests talk to:$missing ..."
policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} # Debian asks it before a package starts its service; 101 forbids it
made=
trap 'rm -f $made' EXIT
trap 'exit 130' HUP INT TERM
if [ ! -e "$policy" ]; then
    made=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# PostgreSQL's package would make a database server of its own; what it is told here counts while it is installed.
cluster=${CREATECLUSTER_D:-/etc/postgresql-common/createcluster.d}/filterd-tests.conf
case "$missing " in *" postgresql "*)
    made="$made $cluster"
    mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' >"$cluster"
    ;;
esac
export DEBIAN_FRONTEND=noninteractive
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
apt-get -qq update
# shellcheck disable=SC2086  # a list of names
apt-get -qq install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $missing >/dev/null </dev/null
