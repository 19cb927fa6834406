"""The command line itself: help, usage errors, --json, closed outputs, terminals, hostile names, pages."""

import json
import os
import pty
import re
import select
import subprocess
import time

from support import KIB, PROGRAM, CliTest, f32_bytes, lobit, main, weights, write_gguf, write_safetensors

COMMANDS = ("convert", "inspect", "verify", "synth", "devices", "mem")
# A title for the terminal, a colour, a line that overwrites another, a tag, text from right to left.
HOSTILE = "a\x1b]0;owned\x07\x1b[31m\r\n<script>alert(1)</script>\u202e\x9b&\"'"


class Help(CliTest):
    def test_every_command_explains_itself_with_examples(self):
        for command in ((), *((c,) for c in COMMANDS)):
            out = self.ok(*command, "--help").out
            self.assertIn("Examples:\n", out)
            examples = re.findall(r"^  (lobit .*)$", out, re.M)
            self.assertGreaterEqual(len(examples), 2, command)
            for option in re.findall(r"(?<!\w)--[a-z-]+", " ".join(examples)):
                words = next(e for e in examples if option in e).split()[1:]
                name = words[: 2 if words[0] == "mem" else 1]
                explained = lobit(*name, "--help").out.split("Examples:")[0]
                self.assertIn(option, explained, f"{option} of an example of {command}")

    def test_the_program_lists_its_commands_and_exit_codes(self):
        out = self.ok("--help").out
        for word in (*COMMANDS, "0 ok", "1 failed", "2 usage", "3 does not fit"):
            self.assertIn(word, out)
        self.assertRegex(self.ok("--version").out, r"^\d+\.\d+\.\d+")

    def test_convert_names_its_options(self):
        out = self.ok("convert", "--help").out
        for option in (
            "--to", "--rule", "--keep", "--pure", "--method", "--ternary", "--saturate", "--split-max-size", "--memory-limit",
            "--threads", "--raw-names", "--dry-run", "--overwrite", "--verify", "--sync", "--report", "--memory-trace", "--json",
        ):  # fmt: skip
            self.assertIn(option, out)


class UsageErrors(CliTest):
    def test_unknown_commands_get_a_suggestion(self):
        for wrong, right in {"covnert": "convert", "inspekt": "inspect", "verfy": "verify", "sync": "synth"}.items():
            run = self.fails(2, f"`lobit {right}`", wrong)
            self.assertIn("Did you mean", run.err)
        run = self.fails(2, "lobit: error", "zzzzzzzzzzzz")
        self.assertNotIn("Did you mean", run.err)

    def test_nothing_and_unknown_options(self):
        self.fails(2, "--help")
        self.fails(2, "--nope", "inspect", "x.gguf", "--nope")
        self.fails(2, "--help", "convert", "in.gguf", "--to", "q8_0")  # no -o
        self.fails(2, "--threads", "inspect", "x.gguf", "--threads", "0")
        self.fails(2, "--ternary", "convert", "a", "-o", "b.gguf", "--to", "tq2_0", "--ternary", "mean")

    def test_unknown_encodings_get_a_suggestion(self):
        source = self.small_model()
        for wrong, right in {"q8_O": "q8_0", "tq20": "tq2_0", "bf61": "bf16", "bitnet185": "bitnet158"}.items():
            self.fails(2, [f"'{wrong}'", f"did you mean {right}?"], "convert", source, "-o", "o.gguf", "--to", wrong)
        run = self.fails(2, ["encodings:", "tq1_0"], "convert", source, "-o", "o.gguf", "--to", "something_else")
        self.assertNotIn("did you mean", run.err)

    def test_bad_sizes(self):
        source = self.small_model()
        for size in ("64XB", "-1", "abc", "", "1e300GiB", "0x10", "nan"):
            with self.subTest(size):
                if size:
                    args = ("convert", source, "-o", "o.gguf", "--to", "q8_0", f"--memory-limit={size}")
                    self.fails(2, f"'{size}'", *args)
                self.fails(2, "", "synth", "-o", self.path("s.gguf"), f"--size={size}")
        self.fails(2, "more than 0", "convert", source, "-o", "o.gguf", "--to", "q8_0", "--memory-limit", "0")
        self.fails(2, "percentage", "synth", "-o", self.path("s.gguf"), "--size", "50%")
        self.fails(2, "at least", "synth", "-o", self.path("s.gguf"), "--size", "10KiB")

    def test_sizes_in_every_spelling(self):
        source = self.synth("m.gguf")
        for size in ("64MiB", "1.5GiB", "64mib", "64 MiB", "67108864", "64M", "100MB", "50%"):
            args = ("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0", "--overwrite")
            report = self.json(*args, "--memory-limit", size)
            self.assertGreater(report["memory_limit"], 0)
        self.assertEqual(self.json(*args, "--memory-limit", "1.5GiB")["memory_limit"], 3 << 29)
        self.assertEqual(self.json(*args, "--memory-limit", "64M")["memory_limit"], 64 << 20)

    def test_missing_and_foreign_inputs(self):
        self.fails(1, "absent.gguf", "inspect", self.path("absent.gguf"))
        empty = self.path("empty.gguf")
        empty.write_bytes(b"")
        self.fails(1, "an empty file", "inspect", empty)
        pickle = self.path("model.bin")
        pickle.write_bytes(b"PK\x03\x04" + bytes(100))
        self.fails(1, "zip archive", "inspect", pickle)


class Json(CliTest):
    def test_every_command_prints_json_with_its_schema(self):
        made = self.json("synth", "-o", self.path("m.gguf"), "--size", "1MiB")
        self.assertEqual(made["schema"], "lobit.synth.v1")
        self.assertEqual(made["bytes"], self.path("m.gguf").stat().st_size)
        converted = self.json("convert", self.path("m.gguf"), "-o", self.path("o.gguf"), "--to", "q8_0")
        self.assertEqual(converted["schema"], "lobit.convert.v1")
        self.assertEqual(self.json("inspect", self.path("m.gguf"))["schema"], "lobit.inspect.v1")
        verified = self.json("verify", self.path("m.gguf"), self.path("o.gguf"), code=1)
        self.assertEqual(verified["schema"], "lobit.verify.v1")
        self.assertEqual(self.json("devices", "--no-measure")["schema"], "lobit.devices.v1")

    def test_errors_are_json_too(self):
        absent, out = self.path("absent.gguf"), self.path("o.gguf")
        for code, args in [
            (1, ("convert", absent, "-o", out, "--to", "q8_0")),
            (1, ("inspect", absent)),
            (1, ("verify", absent, absent)),
            (2, ("synth", "-o", out, "--size", "1KiB")),
            (2, ("convert", absent, "-o", out, "--to", "q9")),
            (3, ("convert", self.small_model(), "-o", out, "--to", "q8_0", "--memory-limit", "1KiB")),
        ]:
            error = self.json(*args, code=code)
            self.assertEqual(error["schema"], "lobit.error.v1")
            self.assertTrue(error["error"]["code"])
            self.assertIn(error["error"]["message"], lobit(*args).err)
        for args in (("covnert",), ("inspect",), ("synth", "--nope"), ("convert", absent, "--to", "q8_0")):
            error = self.json(*args, code=2)
            self.assertEqual((error["schema"], error["error"]["code"]), ("lobit.error.v1", "invalid argument"))

    def test_hostile_names_stay_valid_json(self):
        source = hostile_model(self)
        report = self.json("inspect", source)
        self.assertEqual({t["name"] for t in report["tensors"]}, {HOSTILE, "b\ufffd\ufffd"})
        self.json("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0")


def hostile_model(test):
    data = f32_bytes(weights(64))
    tensors = [(HOSTILE, (2, 32), 0, data), (b"b\xff\xfe", (2, 32), 0, data)]
    metadata = [
        ("general.name", "string", HOSTILE),
        ("key" + HOSTILE, "string", "v"),
        ("list", "array", ("string", [HOSTILE])),
    ]
    return write_gguf(test.path("hostile.gguf"), tensors, metadata)


class HostileNames(CliTest):
    def assert_tame(self, data, what):
        text = data.decode()  # UTF-8
        found = re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        self.assertEqual(found, [], what)

    def test_nothing_from_a_file_acts_on_the_terminal(self):
        source, other = hostile_model(self), self.small_model()
        out = self.path("o.gguf")
        for args in [
            ("inspect", source), ("inspect", source, "--tensors"), ("inspect", source, "--stats"),
            ("verify", source, other, "--tensors"), ("convert", source, "-o", out, "--to", "q4_0", "--dry-run"),
            ("convert", source, "-o", out, "--to", "q4_0", "--verify", "--tensors"),
            ("convert", source, "-o", self.path("x.gguf"), "--rule", "script=tq2_0"),  # rows do not divide
        ]:  # fmt: skip
            run = lobit(*args)
            self.assertIn("script", run.out + run.err, args)
            self.assert_tame(run.raw_out, args)
            self.assert_tame(run.raw_err, args)

    def test_nor_from_errors(self):
        values = weights(64)
        values[3] = float("inf")
        for name in (HOSTILE, b"b\xff\xfe\x1b[2J"):
            source = write_gguf(self.path("inf.gguf"), [(name, (2, 32), 0, f32_bytes(values))])
            run = self.fails(1, "element 3", "convert", source, "-o", self.path("x.gguf"), "--to", "q8_0")
            self.assert_tame(run.raw_err, name)
            self.assertEqual(run.err.count("\n"), 1)
            blocks = write_gguf(self.path("iq.gguf"), [(name, (1, 256), 16, bytes(66))])
            run = self.fails(1, "iq2_xxs", "convert", blocks, "-o", self.path("x.gguf"), "--to", "q8_0")
            self.assert_tame(run.raw_err, name)
        run = lobit("inspect", self.path("absent\x1b[31m\n.gguf"))
        self.assertEqual(run.code, 1)
        self.assert_tame(run.raw_err, "a path")

    def test_nor_from_safetensors(self):
        name = HOSTILE + "\x00"
        data = f32_bytes(weights(64))
        source = write_safetensors(self.path("h.safetensors"), [(name, "F32", (2, 32), data)], {HOSTILE: HOSTILE})
        for args in [("inspect", source, "--tensors"), ("convert", source, "-o", self.path("o.safetensors"), "--to", "f16")]:
            run = self.ok(*args)
            self.assert_tame(run.raw_out, args)
            self.assert_tame(run.raw_err, args)


class Pages(CliTest):
    def pages(self, source, other):
        for name, args in {
            "convert": ("convert", source, "-o", self.path("o.gguf"), "--to", "q4_0"),
            "inspect": ("inspect", source, "--stats"),
            "verify": ("verify", source, other),
        }.items():
            page = self.path(name + ".html")
            run = lobit(*args, "--report", page)
            self.assertIn(run.code, (0, 1), run.err)
            yield name, page.read_text()

    def test_pages_are_whole_and_alone(self):
        source = self.synth("m.gguf")
        for name, page in self.pages(source, self.small_model()):
            with self.subTest(name):
                self.assertTrue(page.lower().startswith("<!doctype html>"))
                self.assertIn("</html>", page)
                # Names of XML vocabularies are identifiers, not addresses that a browser opens.
                addresses = set(re.findall(r"(?:https?:)?//[\w.]+[\w./#-]*", page)) - {"http://www.w3.org/2000/svg"}
                addresses = {a for a in addresses if not a.startswith("//") or re.search(rf'["\'(]{re.escape(a)}', page)}
                self.assertEqual(addresses, set())
                self.assertIsNone(re.search(r"<(link|iframe|object|embed)\b|@import|\bsrc\s*=|url\((?!#)", page, re.I))
                self.assertIn("blk.0.attn_q.weight", page)
                self.assertIn("<table", page)
                self.assertIn("<svg", page)

    def test_hostile_names_are_escaped(self):
        for name, page in self.pages(hostile_model(self), self.small_model()):
            with self.subTest(name):
                self.assertNotIn("<script>alert", page)
                self.assertIn("alert(1)", page)
                self.assertIsNone(re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page))
                data = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.S)
                self.assertIn(HOSTILE, {t["name"] for t in json.loads(data[0])["tensors"]})
                shown = re.sub(r"<script.*?</script>", "", page, flags=re.S)
                self.assertNotIn("\u202e", shown)

    def test_a_page_that_cannot_be_written_is_an_error(self):
        run = self.fails(1, "no/such", "inspect", self.small_model(), "--report", self.path("no/such/page.html"))
        self.assertEqual(run.out, "")


class Outputs(CliTest):
    def commands(self):
        source = self.synth("m.gguf")
        yield ("inspect", source)
        yield ("inspect", source, "--json")
        yield ("convert", source, "-o", self.path("o.gguf"), "--to", "q8_0", "--overwrite")
        yield ("verify", source, source, "--json")
        yield ("synth", "-o", self.path("s.gguf"), "--size", "1MiB", "--overwrite")
        yield ("devices", "--no-measure")

    def test_a_full_device_is_a_failure(self):
        for args in self.commands():
            with open("/dev/full", "w") as full:
                run = lobit(*args, stdout=full)
            self.assertEqual(run.code, 1, args)
            self.assertIn("standard output", run.err)

    def test_a_closed_pipe_is_a_failure(self):
        for args in self.commands():
            reader, writer = os.pipe()
            os.close(reader)
            run = lobit(*args, stdout=writer)
            os.close(writer)
            self.assertEqual(run.code, 1, args)
            self.assertIn("standard output", run.err)

    def test_a_closed_stderr_changes_nothing(self):
        source = self.synth("m.gguf")
        run = lobit("convert", source, "-o", self.path("o.gguf"), "--rule", "attn_q=q8_0", preexec_fn=lambda: os.close(2))
        self.assertEqual(run.code, 0)
        self.ok("verify", source, self.path("o.gguf"), "--nmse", "0.001")


class Terminal(CliTest):
    def on_a_terminal(self, *args, env=None, stop_after=None):
        """Runs with stderr on a terminal; returns the exit code and what was shown."""
        master, slave = pty.openpty()
        command = [PROGRAM, *map(str, args)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave, env=os.environ | (env or {})
        )
        os.close(slave)
        shown, deadline = b"", time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(master)
        return process.wait(timeout=60), shown.decode()

    def test_progress_shows_rate_time_left_and_tensor(self):
        # Enough work for at least one report, which comes after a tenth of a second at the earliest or at the end.
        source = self.synth("m.gguf", "40MiB", "--dtype", "f32")
        code, shown = self.on_a_terminal("convert", source, "-o", self.path("o.gguf"), "--to", "tq2_0", "--threads", 1)
        self.assertEqual(code, 0)
        self.assertRegex(shown, r"convert +\d+%  [\d.]+ [KM]?i?B of [\d.]+ MiB  [\d.]+ GB/s  \d+ s left")
        self.assertRegex(shown, r"left  (blk\.\d+|token_embd|output)")
        self.assertTrue(shown.endswith("\r\x1b[K"), "the line is gone at the end")

    def test_nothing_is_shown_when_it_is_no_terminal(self):
        run = self.ok("convert", self.synth("m.gguf"), "-o", self.path("o.gguf"), "--to", "q8_0")
        self.assertEqual(run.err, "")

    def test_errors_are_red_unless_no_color(self):
        absent = self.path("absent.gguf")
        environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self.assertNotIn("NO_COLOR", environment)
        code, shown = self.on_a_terminal("inspect", absent)
        self.assertEqual(code, 1)
        if "NO_COLOR" not in os.environ:
            self.assertIn("\x1b[31merror", shown)
        code, shown = self.on_a_terminal("inspect", absent, env={"NO_COLOR": "1"})
        self.assertNotIn("\x1b[31m", shown)
        self.assertIn("error", shown)


class Tables(CliTest):
    def test_columns_line_up(self):
        out = self.ok("inspect", self.small_model()).out
        rows = [line for line in out.splitlines() if re.match(r"f32 +\d", line)]
        self.assertTrue(rows)
        self.assertIn("small.gguf: GGUF 3", out)
        self.assertIn("8 tensors", out)
        self.assertGreater(len(out), KIB // 4)


if __name__ == "__main__":
    main()
