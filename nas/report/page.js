"use strict";
for (const code of document.querySelectorAll(".snippet code")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.closest(".snippet").append(button);
}
const heads = [...document.querySelectorAll("#table thead th")];
heads.forEach((head, index) => {
  // Not a <button>: browsers leave those out of the headers repeated in print.
  const handle = document.createElement("span");
  handle.setAttribute("role", "button");
  handle.tabIndex = 0;
  handle.append(head.firstChild);
  head.prepend(handle);
  const sort = () => {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[index].dataset.sort;
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const sign = rising ? 1 : -1;
      return sign * (head.dataset.kind === "number" ? x - y : x.localeCompare(y));
    };
    const body = document.querySelector("#table tbody");
    body.append(...[...body.rows].sort(order));
  };
  handle.addEventListener("click", sort);
  handle.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    sort();
  });
});
