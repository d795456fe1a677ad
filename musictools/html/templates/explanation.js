"use strict";
for (const box of document.querySelectorAll("section.tag")) {
  const sounds = [...box.querySelectorAll("audio")], picture = box.querySelector(".picture");
  const head = picture.querySelector("i"), {left, width, end} = picture.dataset;
  let last = null;
  const show = (t) => { head.style.left = 100 * (+left + +width * Math.min(t / end, 1)) + "%"; };
  const follow = () => { if (last) { show(last.currentTime); if (!last.paused) requestAnimationFrame(follow); } };
  for (const sound of sounds) {
    sound.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
      if (last && last !== sound && !last.ended) sound.currentTime = last.currentTime;  // go on at the same place
      last = sound;
      follow();
    });
    sound.addEventListener("seeked", () => { if (!last || last === sound) show(sound.currentTime); });
  }
  picture.addEventListener("click", (event) => {
    const place = picture.getBoundingClientRect(), sound = last || sounds[0];
    const share = ((event.clientX - place.left) / place.width - left) / width;
    sound.currentTime = Math.max(0, Math.min(share, 1)) * end;
    show(sound.currentTime);
  });
  show(0);
}
document.querySelector("#song audio").addEventListener("play", () => {
  for (const other of document.querySelectorAll("section.tag audio")) other.pause();
});
