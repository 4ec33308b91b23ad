"""A configuration of email-oauth2-proxy, encrypted and written by its own code. Standard input: JSON, {"file", "sections": {name: {key: value}},
"accounts": [{"name", "password", "iterations", "says_iterations", "values": {key: plain}}]}. Each value is encrypted under the account's
password with that many iterations, as the version that had them did; "says_iterations" is false for versions that did not write them.
"""
import json, sys
import emailproxy

wanted = json.load(sys.stdin)
config = emailproxy.ConcurrentConfigParser()
for section, values in wanted["sections"].items():
    config.add_section(section)
    for key, value in values.items():
        config.set(section, key, value)
emailproxy.AppConfig._PARSER = config
emailproxy.CONFIG_FILE_PATH = emailproxy.CACHE_STORE = wanted["file"]
for account in wanted["accounts"]:
    name = account["name"]
    emailproxy.Cryptographer.ITERATIONS = account["iterations"]
    cryptographer = emailproxy.Cryptographer(config, name, account["password"])
    config.set(name, "token_salt", cryptographer.salt)
    if account["says_iterations"]:
        config.set(name, "token_iterations", str(cryptographer.iterations))
    for key, value in account["values"].items():
        config.set(name, key, cryptographer.encrypt(value))
emailproxy.AppConfig.save()
