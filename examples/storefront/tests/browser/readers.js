// How the tests read the page.

const read = node => Number(node.textContent.replaceAll(",", "").replace(/ .*/, ""));
const row = name => [...document.querySelectorAll("#functions tr")].find(row => row.cells[0].firstChild.data === name);
window.is = (id, text) => document.getElementById(id).textContent === text;
window.number = id => read(document.getElementById(id));
window.count = (name, column) => read(row(name).querySelector("td." + column));
window.hitRate = name => parseFloat(row(name).querySelector("td.rate").textContent);
window.rows = () => [...document.querySelectorAll("#functions tbody tr")].map(row => row.innerText);
window.notes = () => [...document.querySelectorAll("#log li span")].map(note => note.textContent);
window.live = async () => (await fetch("/live")).json();
