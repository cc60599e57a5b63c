"""Make the published dashboard work without a network: `python -m asv_benches.offline`.

asv's page loads its libraries from other hosts. This takes the packages from npm, puts the files beside the
page and points the page at them. Rerun it after each `asv publish`, which writes the page anew.
"""

import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import click

HTML = Path(__file__).resolve().parents[1] / ".asv" / "html"

# What the page names, and where it is: (package, file in it).
FILES = {
    "jquery-3.3.1.min.js": ("jquery@3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": ("flot@0.8.3", "jquery.flot.js"),
    "jquery.flot.time.min.js": ("flot@0.8.3", "jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("flot@0.8.3", "jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("flot@0.8.3", "jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars@1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin@1.1.3", "stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5@2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap@3.1.1", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": ("bootstrap@3.1.1", "dist/css/bootstrap.min.css"),
}

REMOTE = re.compile(r'(?P<attribute>src|href)="https://[^"]*/(?P<file>[^"/]+\.(?:js|css))"(?P<rest>[^>]*)')
ONLY_REMOTE = re.compile(r' (?:integrity|crossorigin|referrerpolicy)="[^"]*"')


def fetch(packages, folder):
    """The archive of each package."""
    archives = {}
    for package in packages:
        done = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
        )
        archives[package] = Path(folder, done.stdout.split()[-1])
    return archives


def local(match):
    """A reference to another host, as one to `vendor/`."""
    if match["file"] not in FILES:
        raise click.ClickException(f"the page loads {match['file']}, which this version of asv_benches.offline lacks")
    return f'{match["attribute"]}="vendor/{match["file"]}"' + ONLY_REMOTE.sub("", match["rest"])


@click.command()
@click.option("--html", default=HTML, type=click.Path(exists=True, file_okay=False, path_type=Path), show_default=True)
def main(html):
    """Point the page that asv published at copies of its libraries."""
    page = html / "index.html"
    text, count = REMOTE.subn(local, page.read_text(encoding="utf-8"))
    vendor = html / "vendor"
    vendor.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archives = fetch(sorted({package for package, _ in FILES.values()}), folder)
        for name, (package, path) in FILES.items():
            with tarfile.open(archives[package]) as archive:
                (vendor / name).write_bytes(archive.extractfile(f"package/{path}").read())
    page.write_text(text, encoding="utf-8")
    click.echo(f"{page} loads {count} files from {vendor}")


if __name__ == "__main__":
    main()
