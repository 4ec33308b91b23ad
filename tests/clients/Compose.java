// Sends a mail with JavaMail: SETTINGS (properties) USER PASSWORD FROM SUBJECT TEXT-FILE RECIPIENT...
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.Properties;
import javax.mail.Message;
import javax.mail.Session;
import javax.mail.Transport;
import javax.mail.internet.InternetAddress;
import javax.mail.internet.MimeMessage;

public class Compose {
    public static void main(String[] words) throws Exception {
        Properties settings = new Properties();
        settings.load(Files.newBufferedReader(Paths.get(words[0])));
        MimeMessage message = new MimeMessage(Session.getInstance(settings));
        message.setFrom(new InternetAddress(words[3]));
        for (String recipient : Arrays.asList(words).subList(6, words.length)) {
            message.addRecipient(Message.RecipientType.TO, new InternetAddress(recipient));
        }
        message.setSubject(words[4], "UTF-8");
        message.setText(new String(Files.readAllBytes(Paths.get(words[5])), StandardCharsets.UTF_8), "UTF-8");
        if (words[1].isEmpty()) {
            Transport.send(message);
        } else {
            Transport.send(message, words[1], words[2]);
        }
    }
}
