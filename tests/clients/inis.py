"""What Python's configparser makes of texts. Standard input: JSON, a list of texts; standard output: for each a list of sections, each its name
and its values by key, or null where it refuses the text."""
import configparser, json, sys


def read(text):
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return [[name, dict(parser.items(name))] for name in parser.sections()]


print(json.dumps([read(text) for text in json.load(sys.stdin)]))
