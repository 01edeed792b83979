<?php
// A small members' area in plain PHP with its native sessions, as its manual would write one: every visitor gets a session
// with the first page. With KEEP_ID the id stays the same through the sign-in, as it did in many an old app. It knows of
// nothing that may stand in front of it.

declare(strict_types=1);

session_start();

// Kept by the company's answer as it was sent: quotes, signs of HTML, a letter that is not ASCII.
const RELAY = "/members?from=<\"a & b'>+%41\u{e9}";

function kept_in(string $name): string
{
    return getenv('APP_DATA') . "/$name";
}

function note_down(string $line): void
{
    file_put_contents(getenv('APP_LOG'), "$line\n", FILE_APPEND | LOCK_EX);
}

function text(string $value): string
{
    return htmlspecialchars($value, ENT_QUOTES);
}

function own(string $path): string
{
    return 'https://' . $_SERVER['HTTP_HOST'] . $path;
}

function go(string $to, int $status = 303): never
{
    header("Location: $to", true, $status);
    exit;
}

function refuse(int $status, string $why): never
{
    http_response_code($status);
    echo text($why);
    exit;
}

function user(): string
{
    return $_SESSION['user'] ?? '';
}

function notes(): array
{
    $file = kept_in('notes');
    return is_file($file) ? file($file, FILE_IGNORE_NEW_LINES) : [];
}

function page(string $name, int $number = 0): never
{
    $_SESSION['csrf'] ??= bin2hex(random_bytes(16));
    $hidden = '<input type="hidden" name="csrf" value="' . $_SESSION['csrf'] . '">';
    $flash = $_SESSION['flash'] ?? '';
    unset($_SESSION['flash']);
    ?>
<!doctype html>
<title>Members</title>
<body data-user="<?= text(user()) ?>" data-page="<?= text($name) ?>">
<h1><?= text($name) ?></h1>
<p class="flash"><?= text($flash) ?></p>
<?php if (user() !== '') { ?>
<a id="next" href="/members/<?= $number + 1 ?>">next</a>
<form id="note" method="post" action="/notes"><?= $hidden ?><input name="text"></form>
<form id="logout" method="post" action="/logout"><?= $hidden ?></form>
<ul id="notes"><?php foreach (notes() as $note) { ?><li><?= text($note) ?></li><?php } ?></ul>
<?php } else { ?>
<form id="login" method="post" action="/login"><?= $hidden ?><input name="username"><input name="password" type="password"></form>
<form id="mail" method="post" action="/login/mail"><?= $hidden ?><input name="username"></form>
<a id="oidc" href="/login/oidc">sign in elsewhere</a>
<a id="saml" href="/login/saml">sign in by the company</a>
<?php }
    exit;
}

function sign_in(string $user, string $how): never
{
    if (!getenv('KEEP_ID')) {
        session_regenerate_id(true);
    }
    $_SESSION = ['user' => $user];
    note_down("SIGNIN $how $user");
    go('/members');
}

function members_only(): void
{
    if (user() === '') {
        go('/login');
    }
}

function post(string $url, array $form): string
{
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => 'Content-Type: application/x-www-form-urlencoded',
        'content' => http_build_query($form),
        'timeout' => 10,
    ]]);
    $told = file_get_contents($url, false, $context);
    return $told === false ? refuse(502, 'the provider does not answer') : $told;
}

$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
$route = $_SERVER['REQUEST_METHOD'] . ' ' . $path;
note_down($_SERVER['REQUEST_METHOD'] . ' ' . $_SERVER['REQUEST_URI'] . ' ' . (user() ?: '-'));

if ($_SERVER['REQUEST_METHOD'] === 'POST' && $path !== '/saml/acs') {
    if (!isset($_SESSION['csrf']) || !hash_equals($_SESSION['csrf'], $_POST['csrf'] ?? '')) {
        refuse(400, 'this form is not of this visit');
    }
}

switch ($route) {
    case 'GET /':
        page('home');
    case 'GET /login':
        page('login');
    case 'POST /login':
        if ($_POST['username'] !== 'alice' || !hash_equals(getenv('ALICE_PASSWORD'), $_POST['password'])) {
            refuse(403, 'no');
        }
        sign_in('alice', 'form');
    case 'POST /login/mail':
        if ($_POST['username'] === 'alice') {
            $code = bin2hex(random_bytes(16));
            file_put_contents(kept_in("link-$code"), 'alice');
            post(getenv('IDP_BACK') . '/mail', ['link' => own("/login/link?code=$code")]);
        }
        $_SESSION['flash'] = 'look into your mail';
        go('/login');
    case 'GET /login/link':
        $file = kept_in('link-' . preg_replace('/[^0-9a-f]/', '', $_GET['code'] ?? ''));
        $user = @file_get_contents($file);
        if ($user === false || !@unlink($file)) {
            refuse(403, 'this link was used');
        }
        sign_in($user, 'link');
    case 'GET /login/oidc':
        $_SESSION['state'] = bin2hex(random_bytes(16));
        go(getenv('IDP_URL') . '/authorize?' . http_build_query([
            'response_type' => 'code',
            'client_id' => 'members',
            'scope' => 'openid',
            'redirect_uri' => own('/login/oidc/callback'),
            'state' => $_SESSION['state'],
        ]), 302);
    case 'GET /login/oidc/callback':
        $state = $_SESSION['state'] ?? '';
        unset($_SESSION['state']);
        if ($state === '' || !hash_equals($state, $_GET['state'] ?? '')) {
            refuse(403, 'this answer is not of this visit');
        }
        $told = post(getenv('IDP_BACK') . '/token', [
            'grant_type' => 'authorization_code',
            'client_id' => 'members',
            'code' => $_GET['code'],
            'redirect_uri' => own('/login/oidc/callback'),
        ]);
        sign_in(json_decode($told, true)['sub'], 'oidc');
    case 'GET /login/saml':
        $_SESSION['saml'] = '_' . bin2hex(random_bytes(16));
        go(getenv('IDP_URL') . '/saml/sso?' . http_build_query([
            'request' => $_SESSION['saml'],
            'acs' => own('/saml/acs'),
            'relay' => RELAY,
        ]), 302);
    case 'POST /saml/acs':
        $bytes = base64_decode($_POST['SAMLResponse']);
        if (!hash_equals(hash_hmac('sha256', $bytes, getenv('IDP_KEY')), $_POST['Signature'])) {
            refuse(403, 'not signed by the company');
        }
        $told = json_decode($bytes, true);
        if ($_POST['RelayState'] !== RELAY) {
            refuse(400, 'the state is not what was sent');
        }
        $asked = $_SESSION['saml'] ?? '';
        unset($_SESSION['saml']);
        // Made anew or not at all: an assertion is good once.
        $mark = kept_in('assertion-' . preg_replace('/[^0-9a-f]/', '', $told['id']));
        if ($asked === '' || $told['in_response_to'] !== $asked || !@fopen($mark, 'x')) {
            refuse(403, 'this answer is not of this visit');
        }
        sign_in($told['subject'], 'saml');
    case 'GET /members':
        members_only();
        page('members');
    case 'GET /api/me':
        if (user() === '') {
            refuse(401, 'no');
        }
        header('Content-Type: application/json');
        echo json_encode(['user' => user()]);
        exit;
    case 'POST /notes':
        members_only();
        file_put_contents(kept_in('notes'), $_POST['text'] . "\n", FILE_APPEND | LOCK_EX);
        note_down("NOTE {$_POST['text']} " . user());
        $_SESSION['flash'] = "kept: {$_POST['text']}";
        go('/members');
    case 'POST /logout':
        $_SESSION = [];
        $cookie = session_get_cookie_params();
        setcookie(session_name(), '', ['expires' => 1, 'path' => $cookie['path']]);
        session_destroy();
        go('/');
    default:
        if (preg_match('#^GET /members/([0-9]+)$#', $route, $found)) {
            members_only();
            page("members $found[1]", (int) $found[1]);
        }
        refuse(404, 'no such page');
}
