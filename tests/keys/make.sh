#!/bin/sh
# Makes the keys and certificates of the tests anew, as people make them. They are worth nothing: nobody trusts them.
# Needs openssl 3 with its legacy provider. Certificates last a hundred years; the expired one ended before it began.
set -eu
cd "$(dirname "$0")"
openssl genrsa -out rsa.pem 2048
openssl rsa -in rsa.pem -traditional -out rsa-pkcs1.pem
openssl rsa -in rsa.pem -aes256 -passout pass:secret -out rsa-encrypted.pem
openssl rsa -in rsa.pem -aes256 -traditional -passout pass:secret -out rsa-pkcs1-encrypted.pem
openssl genrsa -out rsa-short.pem 1024
openssl genrsa -out rsa-other.pem 2048
openssl ecparam -name prime256v1 -genkey -noout -out p256-sec1.pem
openssl pkcs8 -topk8 -nocrypt -in p256-sec1.pem -out p256.pem
openssl ecparam -name secp384r1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out p384.pem
for key in rsa rsa-other p256; do
    openssl req -x509 -key "$key.pem" -subj "/CN=outlink $key" -days 36500 -out "$key.crt"
done
openssl x509 -in rsa.crt -signkey rsa.pem -days -1 -out rsa-expired.crt
cat rsa-other.crt rsa.crt rsa.pem >rsa-both.pem
openssl pkcs12 -export -inkey rsa.pem -in rsa.crt -certfile rsa-other.crt -passout pass:secret -out modern.p12
openssl pkcs12 -export -inkey rsa.pem -in rsa.crt -passout pass: -out modern-without-password.p12
openssl pkcs12 -export -legacy -inkey rsa.pem -in rsa.crt -passout pass:secret -out legacy.p12
openssl pkcs12 -export -nokeys -in rsa.crt -passout pass:secret -out without-key.p12
printf 'eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk\n' >federated-token
python3 - <<'END'
import json
key = open("rsa.pem").read()
account = {
    "type": "service_account", "project_id": "outlink-test", "private_key_id": "0123456789abcdef", "private_key": key,
    "client_email": "relay@outlink-test.iam.gserviceaccount.com", "client_id": "100000000000000000001",
    "token_uri": "https://oauth2.googleapis.com/token",
}
json.dump(account, open("service-account.json", "w"), indent=2)
END
