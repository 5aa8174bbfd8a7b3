#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""completions.py PROGRAM FOLDER: writes what bash, zsh and fish complete for `ringcast`, as FOLDER/ringcast, _ringcast and
ringcast.fish. It knows no command and no option by name: all of them come from the program's own --help, which prints
the tables that the program parses with. Invariant: whatever --help shows, each of the three completes.
"""
import os
import re
import subprocess
import sys

COLUMN = 30  # where the words about an option begin (tools/lib/options.c)


class Option:
    """One option of a command: its name, its argument or none, and the first words about it."""

    def __init__(self, name, argument, words):
        self.name, self.argument, self.words = name, argument, words

    @property
    def choices(self):
        """The words to choose among, when the argument is a list of them."""
        found = self.argument and re.fullmatch(r"[a-z0-9]+(\|[a-z0-9]+)+", self.argument)
        return self.argument.split("|") if found else []

    @property
    def files(self):
        return self.argument == "FILE"

    @property
    def repeatable(self):
        return "repea" in self.words

    @property
    def summary(self):
        """What fits a line: up to the first colon or semicolon, without what stands in brackets, or when it holds."""
        words = re.sub(r"^(for )?(wss|TLS): ", "", re.sub(r" *\([^)]*\)?", "", self.words))
        return re.split(r"[:;]", words)[0].strip() or self.name


class Command:
    def __init__(self, name, summary, text):
        self.name, self.summary = name, summary
        usage = text.split("\n", 1)[0]
        # What stands in capitals there is the user's to fill in; a word in small letters is to be typed as it is.
        operands = re.sub(r"\[options\]|--\S+ \S+", "", usage.split(f"ringcast {name}", 1)[1])
        self.words = re.findall(r"(?<![\w\[])[a-z]+(?![\w\]])", operands)
        self.files = bool(re.search(r"\bFILE\b", operands))
        self.options = list(options_in(text))


def options_in(text):
    lines = text.split("\noptions:\n", 1)[1].split("\n\n", 1)[0].split("\n")
    head, words = None, []
    for line in [*lines, "  --"]:
        if not line.startswith("  --"):
            words.append(line.strip())
            continue
        if head:
            name, _, argument = head.partition(" ")
            yield Option(name, argument, " ".join(words).strip())
        # A head that reaches the column has its words on the next line.
        short = len(line) <= COLUMN or line[COLUMN - 1] == " "
        head = (line[:COLUMN] if short else line).strip()[2:]
        words = [line[COLUMN:].strip()] if short else []


def commands_of(program):
    def told(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout

    lines = told("--help").split("commands:\n", 1)[1].split("\n\n", 1)[0].split("\n")
    for name, summary in (line.split(None, 1) for line in lines):
        yield Command(name, summary, told(name, "--help"))


def cases(commands, keep, body):
    """The arms of a `case`: one for each set of COMMAND,--OPTION that behaves alike."""
    arms = {}
    for command in commands:
        for option in command.options:
            if keep(option):
                arms.setdefault(body(option), []).append(f"{command.name},--{option.name}")
    return "".join(f"\t{' | '.join(names)}) {what} ;;\n" for what, names in arms.items())


def bash(commands):
    """Needs nothing but bash itself. `--option=word` comes as three words, since bash splits at the =."""
    words = cases(commands, lambda option: option.choices,
                  lambda option: f'words="{" ".join(option.choices)}"')
    files = cases(commands, lambda option: option.files, lambda option: "files=1")
    # Elsewhere nothing is completed in any case.
    free = cases([command for command in commands if command.words or command.files],
                 lambda option: option.argument and not option.files and not option.choices, lambda option: "return")
    lists = "".join(f'\t{command.name},*) words="{" ".join(command.words)}"{" files=1" if command.files else ""} ;;\n'
                    for command in commands if command.words or command.files)
    flags = "".join('\t\t{}) words="{}" ;;\n'.format(command.name, " ".join("--" + each.name for each in command.options))
                    for command in commands)
    return f"""# SPDX-License-Identifier: MIT
# What bash completes for ringcast. Made from `ringcast --help`.
_ringcast()
{{
	local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} words= files=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		COMPREPLY=($(compgen -W "{" ".join(command.name for command in commands)} --help --version" -- "$word"))
		return
	fi
	if [ "$word" = = ]; then
		word=
	elif [ "$before" = = ]; then
		before=${{COMP_WORDS[COMP_CWORD - 2]}}
	fi
	case $word in
	-*)
		case ${{COMP_WORDS[1]}} in
{flags}		esac
		COMPREPLY=($(compgen -W "$words" -- "$word"))
		return
		;;
	esac
	case ${{COMP_WORDS[1]}},$before in
{words}{files}{free}{lists}	esac
	COMPREPLY=($(compgen -W "$words" -- "$word"))
	if [ "$files" ]; then
		compopt -o filenames 2>/dev/null
		COMPREPLY+=($(compgen -f -- "$word"))
	fi
}}
complete -F _ringcast ringcast
"""


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(commands):
    def escaped(text):
        return re.sub(r"([\[\]:\\])", r"\\\1", text)

    def spec(option):
        text = ("*" if option.repeatable else "") + f"--{option.name}" + ("=" if option.argument else "")
        text += f"[{escaped(option.summary)}]"
        if option.choices:
            text += f":{escaped(option.name)}:({' '.join(option.choices)})"
        elif option.argument:
            text += f":{escaped(option.argument)}:" + ("_files" if option.files else "")
        return quoted(text)

    def arm(command):
        specs = [spec(option) for option in command.options]
        if command.words:
            specs.append(quoted(f"1:what to do:({' '.join(command.words)})"))
        if command.files:
            specs.append(quoted("*:file:_files"))
        return f"\t{command.name})\n\t\t_arguments {' '.join(chr(92) + chr(10) + chr(9) * 3 + each for each in specs)}\n\t\t;;\n"

    names = " ".join(quoted(f"{command.name}:{escaped(command.summary)}") for command in commands)
    return f"""#compdef ringcast
# SPDX-License-Identifier: MIT
# What zsh completes for ringcast. Made from `ringcast --help`.
_ringcast()
{{
	local -a names
	names=({names})
	if (( CURRENT == 2 )); then
		_describe command names
		compadd -- --help --version
		return
	fi
	local name=$words[2]
	shift words
	(( CURRENT-- ))
	case $name in
{"".join(arm(command) for command in commands)}	esac
}}
_ringcast "$@"
"""


def fish(commands):
    lines = ["# SPDX-License-Identifier: MIT", "# What fish completes for ringcast. Made from `ringcast --help`.",
             "complete -c ringcast -f", "complete -c ringcast -n __fish_use_subcommand -l help -d 'the commands'",
             "complete -c ringcast -n __fish_use_subcommand -l version -d 'which build this is'"]
    for command in commands:
        lines.append(f"complete -c ringcast -n __fish_use_subcommand -a {command.name} -d {quoted_fish(command.summary)}")
        begin = f"complete -c ringcast -n '__fish_seen_subcommand_from {command.name}'"
        for option in command.options:
            how = ("-x -a " + quoted_fish(" ".join(option.choices)) if option.choices else
                   "-r -F" if option.files else "-x" if option.argument else "")
            lines.append(" ".join(f"{begin} -l {option.name} {how} -d {quoted_fish(option.summary)}".split("  ")))
        lines += [f"{begin} -a {word}" for word in command.words]
        lines += [f"{begin} -F"] if command.files else []
    return "\n".join(lines) + "\n"


def quoted_fish(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def main():
    program, folder = sys.argv[1:]
    commands = list(commands_of(program))
    os.makedirs(folder, exist_ok=True)
    for name, text in (("_ringcast", zsh(commands)), ("ringcast.fish", fish(commands)), ("ringcast", bash(commands))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
