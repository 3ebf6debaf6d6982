# A PostgreSQL of this recipe's own, on a socket in a temporary folder; it ends with this shell. To be sourced.
PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
PGHOST=$(mktemp -d "${TMPDIR:-/tmp}/recipe-e-XXXXXX")
export PGHOST PGUSER=postgres PGDATABASE=postgres
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$PGHOST"' EXIT
# The server refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then
    chown postgres "$PGHOST"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
"${as[@]}" env -C "$PGHOST" initdb -D "$PGHOST/data" -U postgres -A trust -E UTF8 --no-sync >"$PGHOST/log" 2>&1
"${as[@]}" env -C "$PGHOST" postgres -D "$PGHOST/data" -k "$PGHOST" -c listen_addresses= >>"$PGHOST/log" 2>&1 &
until psql -qc 'create database shop' 2>/dev/null; do sleep 0.1; done
export PGDATABASE=shop
# What seriatim is given: the folder of the socket, with its slashes spelled for a URL.
export SERIATIM_STORE="postgres://postgres@${PGHOST//\//%2F}/shop"
