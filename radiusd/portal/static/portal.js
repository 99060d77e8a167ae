/* Everything works without this. What it adds: a clock that runs, times as the browser's
   own clock has them, buttons that copy and print, and forms that are sent once. */
(function () {
  'use strict';
  var root = document.documentElement;
  root.className += ' js';

  function each(selector, f) {
    var all = document.querySelectorAll(selector);
    for (var i = 0; i < all.length; i++) { f(all[i]); }
  }

  function pad(n) { return n < 10 ? '0' + n : String(n); }

  // The time that is left for a step-up. Hidden from screen readers, which would read
  // each second; they keep the minutes that the page came with.
  each('[data-until]', function (line) {
    var until = Date.parse(line.getAttribute('data-until'));
    if (isNaN(until)) { return; }
    var clock = document.createElement('span');
    var spoken = document.createElement('span');
    clock.setAttribute('aria-hidden', 'true');
    spoken.className = 'hidden';
    spoken.textContent = line.textContent;
    line.textContent = '';
    line.appendChild(clock);
    line.appendChild(spoken);
    (function tick() {
      var left = Math.floor((until - Date.now()) / 1000);
      if (left <= 0) {
        line.className += ' over';
        line.setAttribute('role', 'alert');
        line.textContent = line.getAttribute('data-over');
        return;
      }
      clock.textContent = line.getAttribute('data-clock').replace('{time}', Math.floor(left / 60) + ':' + pad(left % 60));
      window.setTimeout(tick, 500);
    })();
  });

  each('time[datetime]', function (t) {
    var at = new Date(t.getAttribute('datetime'));
    if (isNaN(at.getTime()) || !window.Intl) { return; }
    try {
      t.textContent = at.toLocaleString(root.lang, { dateStyle: 'medium', timeStyle: 'short' });
    } catch (e) { /* an older browser keeps what the server wrote */ }
  });

  // An impatient finger sends a form once. Coming back to the page it works again.
  each('form[data-once]', function (form) {
    form.addEventListener('submit', function () {
      window.setTimeout(function () {
        var buttons = form.querySelectorAll('button');
        for (var i = 0; i < buttons.length; i++) { buttons[i].disabled = true; }
      }, 0);
    });
  });
  window.addEventListener('pageshow', function () {
    each('form[data-once] button', function (b) { b.disabled = false; });
  });

  each('[data-copy]', function (button) {
    button.addEventListener('click', function () {
      var text = document.getElementById(button.getAttribute('data-copy')).textContent.replace(/\s+/g, '');
      if (navigator.clipboard) {
        navigator.clipboard.writeText(text).then(function () { button.textContent = button.getAttribute('data-copied'); });
      }
    });
    if (!navigator.clipboard) { button.className = 'hidden'; }
  });

  each('[data-print]', function (button) {
    button.addEventListener('click', function () { window.print(); });
  });

  each('[data-again]', function (box) {
    window.setTimeout(function () { window.location.reload(); }, 1000 * Number(box.getAttribute('data-again')));
  });

  var problems = document.getElementById('problems');
  if (problems) { problems.focus(); }
})();
