#!/bin/sh
# Makes the certificates of tests/tls.rs with OpenSSL, in this folder. They are in force from 2020 to 2120, but for one, which
# expired in 2021. The keys are of nobody and for nothing but these tests.
set -eu
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cat >"$work/ca.cnf" <<'CONF'
[ca]
default_ca = test
[test]
database = $ENV::work/index
rand_serial = yes
new_certs_dir = $ENV::work
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1
extendedKeyUsage = serverAuth
CONF
export work
: >"$work/index"
sign() { # NAME EXTENSIONS UNTIL MORE...
  name=$1 extensions=$2 until=$3
  shift 3
  openssl ca -batch -notext -config "$work/ca.cnf" -in "$work/$name.csr" -startdate 20200101000000Z -enddate "$until" \
    -extensions "$extensions" -out "$name.pem" "$@"
}
request() { # NAME KEY-OPTIONS...
  name=$1
  shift
  openssl req -new -nodes "$@" -subj "/CN=carat test $name" -keyout "$work/$name.key" -out "$work/$name.csr"
}
ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256"
for name in ca stranger; do
  request $name $ec
  sign $name authority 21200101000000Z -selfsign -keyfile "$work/$name.key"
done
issue() { # NAME UNTIL KEY-OPTIONS...
  name=$1 until=$2
  shift 2
  request "$name" "$@"
  sign "$name" server "$until" -cert ca.pem -keyfile "$work/ca.key"
  cp "$work/$name.key" .
}
issue server 21200101000000Z $ec
issue renewed 21200101000000Z -newkey rsa:2048
issue expired 20210101000000Z $ec
