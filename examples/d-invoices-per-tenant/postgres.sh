# A throw-away PostgreSQL for this page: `. ./postgres.sh` starts one and sets DATABASE_URL, `stop_postgres` ends it.
# It listens on no port, only on a socket in a folder of its own.

PG_BIN="$(pg_config --bindir 2> /dev/null)"
# Debian keeps the server's programs off the path, and pg_config in a package of its own.
[ -x "$PG_BIN/initdb" ] || PG_BIN="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)"
PATH="$PG_BIN:$PATH"
PG_FOLDER="$(mktemp -d "${TMPDIR:-/tmp}/recipe-d.XXXXXX")"

# The server refuses to run as root.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd "$PG_FOLDER" && runuser -u postgres -- env PATH="$PATH" "$@")
    else
        "$@"
    fi
}

stop_postgres() {
    as_postgres pg_ctl stop -s -m fast -D "$PG_FOLDER/data"
    rm -r "$PG_FOLDER"
}

[ "$(id -u)" = 0 ] && chown postgres "$PG_FOLDER"
as_postgres initdb -D "$PG_FOLDER/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 > "$PG_FOLDER.log" 2>&1
as_postgres pg_ctl start -s -w -D "$PG_FOLDER/data" -l "$PG_FOLDER/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$PG_FOLDER'"
rm "$PG_FOLDER.log"
export DATABASE_URL="postgres://postgres@$(printf %s "$PG_FOLDER" | sed s,/,%2F,g)/postgres"
