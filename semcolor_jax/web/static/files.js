// Photos come in by dropping and pasting, and go out as files.

const $ = (id) => document.getElementById(id);

/** Saves the file that `work` answers with, while the button says so; `say` is told what is worth knowing. */
export async function save(button, work, say) {
  const text = button.textContent;
  button.disabled = true;
  button.textContent = "Preparing…";
  try {
    const answer = await work();
    const blob = await answer.blob();
    const name = decodeURIComponent(/filename\*=UTF-8''(.*)$/.exec(answer.headers.get("content-disposition"))[1]);
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    for (const note of JSON.parse(answer.headers.get("semcolor-notes") || "[]")) say(`${name} ${note}.`);
  } catch (error) {
    say(error.message, true);
  }
  button.textContent = text;
  button.disabled = false;
}

/** Gives the files that are dropped on the page, or pasted, to `add`. */
export function watchDrops(add) {
  let inside = 0; // elements of the page that a dragged file is over
  addEventListener("dragenter", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    inside++;
    $("drop").hidden = false;
  });
  addEventListener("dragleave", () => (inside = Math.max(0, inside - 1)) || ($("drop").hidden = true));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    $("drop").hidden = true;
    add(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => event.clipboardData?.files.length && add(event.clipboardData.files));
}
