"use strict";
// Shows one pair after the other and sends the votes. It knows neither which run gave which answer
// nor how they are counted: the server does, and tells nobody.

const at = (id) => document.getElementById(id);
let number = null; // of the pair that is shown; null where every pair is rated
let busy = false;

async function ask(path, body) {
  const sent = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const reply = await fetch(path, sent);
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.detail);
  return said;
}

function pictures(place, frames) {
  at(place).replaceChildren(...frames.map((frame) => {
    const image = document.createElement("img");
    image.src = `picture/${frame}`;
    image.alt = "a frame that was seen";
    return image;
  }));
}

function answer(place, text) {
  at(place).textContent = text === null ? "It gave no answer." : text;
  at(place).classList.toggle("none", text === null);
}

function show(said) {
  number = said.number;
  at("progress").textContent = `${said.rated} of ${said.pairs} rated`;
  at("ballot").hidden = number === null;
  at("end").hidden = number !== null;
  at("back").hidden = number === 0;
  if (number === null) return;
  at("question").textContent = said.question;
  pictures("frames", said.both);
  for (const side of [1, 2]) {
    pictures(`frames-${side}`, said.frames[side - 1]);
    answer(`answer-${side}`, said.answers[side - 1]);
  }
}

// One thing at a time: a key that is held down is one vote.
async function act(what) {
  if (busy) return;
  busy = true;
  try {
    at("trouble").textContent = "";
    await what();
  } catch (error) {
    at("trouble").textContent = `${error.message}. Is otter-edge still there?`;
  } finally {
    busy = false;
  }
}

const vote = (choice) => act(async () => {
  if (number !== null) show(await ask("vote", { number, vote: choice }));
});
const back = () => act(async () => show(await ask(number === null ? "pair/last" : `pair/${number - 1}`)));
const finish = () => act(async () => {
  await ask("finish", {});
  at("end").textContent = "The votes are saved; this page can be closed.";
  at("back").hidden = true;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (["0", "1", "2"].includes(event.key)) vote(Number(event.key));
  else if (event.key === "Backspace" && !at("back").hidden) back();
  else if (event.key === "Enter" && number === null && event.target.tagName !== "BUTTON") finish();
});
for (const button of document.querySelectorAll("button[data-vote]")) {
  button.addEventListener("click", () => vote(Number(button.dataset.vote)));
}
at("back").addEventListener("click", back);
at("finish").addEventListener("click", finish);
act(async () => show(await ask("pair/next")));
