# nginx does not read the environment in its configuration: it is filled in here, then nginx takes this shell's place.
set -eu
dir=$(dirname "$0")
sed -e "s,@DIR@,$dir," -e "s/@PORT@/$PORT/" -e "s/@P1@/$P1/" -e "s/@P2@/$P2/" -e "s/@P3@/$P3/" "$dir/nginx.conf.in" >"$dir/nginx.conf"
exec nginx -e "$dir/error.log" -c "$dir/nginx.conf"
