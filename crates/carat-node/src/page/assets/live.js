// Puts what changed into place, every few seconds while somebody looks. Without this script the page loads itself again.
const place = document.getElementById("live");
const EVERY = 3000;

async function look() {
  if (document.hidden || place.contains(document.activeElement)) return;
  try {
    const answer = await fetch(place.dataset.from, { credentials: "same-origin" });
    if (!answer.ok) return;
    const read = new DOMParser().parseFromString(await answer.text(), "text/html");
    place.replaceChildren(...read.body.childNodes);
  } catch {
    // The server is away; the next look may find it.
  }
}

setInterval(look, EVERY);
