<?php
// Sends a mail with PHPMailer: SETTINGS (PHP that fills `$mail`) FROM SUBJECT TEXT-FILE RECIPIENT...
require '/usr/share/php/libphp-phpmailer/autoload.php';

[, $settings, $from, $subject, $file] = $argv;
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->SMTPDebug = 2;
eval(file_get_contents($settings));
$mail->CharSet = 'UTF-8';
$mail->setFrom($from);
foreach (array_slice($argv, 5) as $recipient) {
    $mail->addAddress($recipient);
}
$mail->Subject = $subject;
$mail->Body = file_get_contents($file);
try {
    $mail->send();
} catch (Exception $error) {
    fwrite(STDERR, $error->getMessage() . "\n");
    exit(1);
}
