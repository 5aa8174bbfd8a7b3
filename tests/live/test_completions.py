# SPDX-License-Identifier: MIT
"""What bash, zsh and fish complete: each command, each option of --help, and the words that an option takes. The shells
themselves say so, where they are installed."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from harness import PROGRAM, SANITIZED, TOP, Skip, command, equal, run

FOLDER = tempfile.TemporaryDirectory()


def at(name):
    """One of the three files, made from this build's program."""
    path = os.path.join(FOLDER.name, name)
    if not os.path.exists(path):
        subprocess.run([sys.executable, "-B", os.path.join(TOP, "tools/package/completions.py"), PROGRAM, FOLDER.name], check=True)
    return path


def options():
    """(command, option) as the program's help names them."""
    listed = command("--help").stdout.decode().split("commands:\n")[1].split("\n\n")[0]
    for verb in re.findall(r"^  (\w+) ", listed, re.M):
        for option in re.findall(r"^  --([a-z0-9-]+)", command(verb, "--help").stdout.decode(), re.M):
            yield verb, option


def shell(name, *arguments, stdin=""):
    if SANITIZED:
        raise Skip("the shells get the same words from each build")
    if not shutil.which(name):
        raise Skip(f"{name} is not installed")
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([name, *arguments], input=stdin, capture_output=True, text=True, cwd=FOLDER.name,
                              env={"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8", "TERM": "dumb"})
    equal((done.returncode, done.stderr), (0, ""), name)
    return done.stdout.split("\n")[:-1]


def in_bash(*words):
    """What bash offers for the last word, as it would be typed: bash parts a word at the =."""
    line = " ".join(f"'{word}'" for word in words)
    return shell("bash", "--norc", "-c", f"""
        . {at("ringcast")}
        [ "$(complete -p ringcast)" = "complete -F _ringcast ringcast" ] || exit 1
        COMP_WORDS=(ringcast {line}) COMP_CWORD={len(words)}
        _ringcast
        for each in "${{COMPREPLY[@]}}"; do echo "$each"; done""")


def in_fish(line):
    """The candidates, without their descriptions."""
    return [each.split("\t")[0] for each in shell("fish", "--no-config", "-c", f'source {at("ringcast.fish")}; complete -C "{line}"')]


def test_each_option_is_there():
    texts = {}
    for name in ("ringcast", "_ringcast", "ringcast.fish"):
        with open(at(name), encoding="utf-8") as file:
            texts[name] = file.read()
    pairs = list(options())
    assert len(pairs) > 150 and ("serve", "tls-cert") in pairs and ("app", "preset") in pairs, len(pairs)
    for verb, option in pairs:
        flags = re.search(rf'^\t\t{verb}\) words="(.*)"', texts["ringcast"], re.M).group(1).split()
        assert "--" + option in flags, f"bash lacks {verb} --{option}"
        arm = re.search(rf"^\t{verb}\)\n(.*?)\n\t\t;;", texts["_ringcast"], re.M | re.S).group(1)
        assert re.search(rf"'\*?--{option}[=\[]", arm), f"zsh lacks {verb} --{option}"
        assert re.search(rf"from {verb}' -l {option} ", texts["ringcast.fish"]), f"fish lacks {verb} --{option}"


def test_bash():
    equal(in_bash("se"), ["serve"])
    equal(in_bash("serve", "--poli"), ["--policy", "--policy-for"])
    equal(in_bash("serve", "--policy", "c"), ["close", "conflate"])
    equal(in_bash("serve", "--policy", "=", "s"), ["skip"])
    equal(in_bash("serve", "--policy", "="), ["close", "skip", "conflate"])
    equal(in_bash("serve", "--workers", ""), [])
    equal(in_bash("serve", "--tls-cert", "ringcast."), ["ringcast.fish"])
    equal(in_bash("config", "ch"), ["check"])
    equal(in_bash("replay", "--speed", "ring"), [])
    assert "ringcast.fish" in in_bash("config", "check", "ring")


def test_fish():
    equal(in_fish("ringcast se"), ["serve"])
    equal(sorted(in_fish("ringcast serve --poli")), ["--policy", "--policy-for"])
    equal(sorted(in_fish("ringcast serve --policy c")), ["close", "conflate"])
    equal(in_fish("ringcast serve --tls-cert ringcast.f"), ["ringcast.fish"])
    assert "check" in in_fish("ringcast config ch")


ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; fpath=(FOLDER $fpath); autoload -U compinit; compinit -D -u; cd FOLDER; bindkey "^I" complete-word'
zpty -w -n shell $'LINE\t'
zpty -w shell $'\x01echo "<\x05>"'
repeat 200; do
	zpty -rt shell text && print -rn -- $text
	[[ $text == *\<*\>$'\r'* ]] && break
	sleep 0.05
done
zpty -d shell
"""


def in_zsh(line):
    """The line as zsh leaves it after one Tab: it is put into quotes, and zsh prints it."""
    text = "\n".join(shell("zsh", "-f", "-c", ZSH.replace("FOLDER", os.path.dirname(at("_ringcast"))).replace("LINE", line)))
    return re.findall(r"^<(.*?)>", text.replace("\r", ""), re.M)[-1].strip()


def test_zsh():
    shell("zsh", "-n", at("_ringcast"))
    equal(in_zsh("ringcast heal"), "ringcast health")
    equal(in_zsh("ringcast serve --tls-cr"), "ringcast serve --tls-crl")
    equal(in_zsh("ringcast serve --policy=sk"), "ringcast serve --policy=skip")
    equal(in_zsh("ringcast config ch"), "ringcast config check")


run(globals(), limit=30)
